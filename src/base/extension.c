/*-------------------------------------------------------------------------
 *
 * extension.c
 *	  What belongs to the extension, and to whom the extension belongs.
 *
 * Anybody with CREATE on a database can make a schema and tables with the
 * names of ours.  So nothing is taken for ours because of its name: the
 * extension says which schemas are members of it, and of what stands there
 * only members count.  They must belong to the extension's owner, because
 * what is attached to a table (triggers, indexes on expressions) is run with
 * the rights of that role.
 *
 * What is found is remembered until a catalog changes.  Nothing here opens a
 * relation other than catalogs, and nothing runs SQL.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "compat.h"

#define EXTENSION_NAME "temporal_complete"

/*
 * As the install script and statements in C functions say: what users call,
 * and what is there for that.
 */
static const char *const schema_names[] = {"temporal", "temporal_internal"};

#define SCHEMAS lengthof(schema_names)

typedef struct Extension
{
	Oid			oid;
	Oid			owner;
	Oid			schemas[SCHEMAS];	/* the oldest first, which need not be the
									 * order of their names */
} Extension;

/* There are some fifteen relations. */
#define KNOWN_RELATIONS 32

static Extension known;
static bool known_valid = false;
static struct
{
	NameData	name;
	Oid			oid;
}			known_relations[KNOWN_RELATIONS];
static int	nknown_relations = 0;

/* Changes when something is forgotten: then what is being looked up may be old already */
static uint64 generation = 0;

static const Extension *find_extension(void);
static Oid	find_owner(Oid extension);
static void find_schemas(Oid extension, Oid *schemas);
static bool is_schema(const Extension *extension, Oid schema);
static Oid	find_relation(const Extension *extension, const char *name);
static void relation_changed(Datum arg, Oid relid);
static void schema_changed(Datum arg, int cacheid, uint32 hashvalue);
static void forget(void);

Oid
tc_extension_oid(void)
{
	return find_extension()->oid;
}

Oid
tc_extension_owner(void)
{
	Oid			owner = find_extension()->owner;

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension temporal_complete does not exist in this database"),
				 errhint("Run CREATE EXTENSION temporal_complete.")));
	return owner;
}

Oid
tc_relation_oid(const char *name)
{
	const Extension *extension = find_extension();
	uint64		before = generation;
	Oid			oid;

	for (int i = 0; i < nknown_relations; i++)
		if (strcmp(NameStr(known_relations[i].name), name) == 0)
			return known_relations[i].oid;

	oid = find_relation(extension, name);
	if (OidIsValid(oid) && known_valid && generation == before &&
		nknown_relations < KNOWN_RELATIONS)
	{
		namestrcpy(&known_relations[nknown_relations].name, name);
		known_relations[nknown_relations++].oid = oid;
	}
	return oid;
}

Oid
tc_required_relation_oid(const char *name)
{
	Oid			relid = tc_relation_oid(name);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("extension temporal_complete has no relation \"%s\"", name),
				 OidIsValid(tc_extension_oid()) ?
				 errhint("It must be a member of the extension and belong to its owner; if it cannot be put right, create the extension anew.") :
				 errhint("Run CREATE EXTENSION temporal_complete.")));
	return relid;
}

Oid
tc_type_oid(const char *name)
{
	const Extension *extension = find_extension();

	for (int i = 0; i < SCHEMAS && OidIsValid(extension->schemas[i]); i++)
	{
		Oid			oid = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
										  ObjectIdGetDatum(extension->schemas[i]));

		if (OidIsValid(oid) && getExtensionOfObject(TypeRelationId, oid) == extension->oid)
			return oid;
	}
	return InvalidOid;
}

void
tc_require_names(const char *const *relations, int count)
{
	const Extension *extension;

	for (int i = 0; i < count; i++)
		(void) tc_required_relation_oid(relations[i]);
	extension = find_extension();
	for (int i = 0; i < SCHEMAS; i++)
	{
		Oid			schema = get_namespace_oid(schema_names[i], true);

		if (!OidIsValid(schema) || !is_schema(extension, schema))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("no schema of extension temporal_complete is called \"%s\"", schema_names[i]),
					 errhint("Give it this name again with ALTER SCHEMA ... RENAME.")));
	}
}

void
tc_owner_enter(OwnerScope *scope)
{
	Oid			owner = tc_extension_owner();

	GetUserIdAndSecContext(&scope->user, &scope->sec_context);
	SetUserIdAndSecContext(owner, scope->sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	scope->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	/* rows that a policy hides are an error, not absent */
	(void) set_config_option("row_security", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
tc_owner_leave(const OwnerScope *scope)
{
	AtEOXact_GUC(false, scope->guc_level);
	SetUserIdAndSecContext(scope->user, scope->sec_context);
}

/* All InvalidOid if the extension is not here. */
static const Extension *
find_extension(void)
{
	static bool registered = false;
	uint64		before;

	if (known_valid)
		return &known;
	if (!registered)
	{
		/*
		 * dropping the extension drops its schemas; also if one is moved to
		 * another owner
		 */
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		registered = true;
	}

	before = generation;
	nknown_relations = 0;
	memset(&known, 0, sizeof(known));
	known.oid = get_extension_oid(EXTENSION_NAME, true);
	if (OidIsValid(known.oid))
	{
		known.owner = find_owner(known.oid);
		find_schemas(known.oid, known.schemas);
	}
	/* that it is missing is not remembered: nobody would tell */
	known_valid = OidIsValid(known.schemas[SCHEMAS - 1]) && generation == before;
	return &known;
}

static Oid
find_owner(Oid extension)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		result = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* The schemas that the install script made: the oldest, if others were added. */
static void
find_schemas(Oid extension, Oid *schemas)
{
	Relation	rel = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, DependReferenceIndexId, true, NULL, lengthof(keys), keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend member = (Form_pg_depend) GETSTRUCT(tuple);
		Oid			schema = member->objid;

		if (member->classid != NamespaceRelationId || member->deptype != DEPENDENCY_EXTENSION)
			continue;
		for (int i = 0; i < SCHEMAS; i++)
			if (!OidIsValid(schemas[i]) || schema < schemas[i])
			{
				Oid			newer = schemas[i];

				schemas[i] = schema;
				schema = newer;
				if (!OidIsValid(schema))
					break;
			}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static bool
is_schema(const Extension *extension, Oid schema)
{
	for (int i = 0; i < SCHEMAS; i++)
		if (extension->schemas[i] == schema)
			return true;
	return false;
}

static Oid
find_relation(const Extension *extension, const char *name)
{
	for (int i = 0; i < SCHEMAS && OidIsValid(extension->schemas[i]); i++)
	{
		Oid			oid = get_relname_relid(name, extension->schemas[i]);
		HeapTuple	tuple;
		Oid			owner;

		if (!OidIsValid(oid))
			continue;
		tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
		if (!HeapTupleIsValid(tuple))
			continue;
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);

		if (owner == extension->owner &&
			getExtensionOfObject(RelationRelationId, oid) == extension->oid)
			return oid;
	}
	return InvalidOid;
}

static void
relation_changed(Datum arg, Oid relid)
{
	bool		concerned = !OidIsValid(relid);

	for (int i = 0; i < nknown_relations && !concerned; i++)
		concerned = known_relations[i].oid == relid;
	if (concerned)
		forget();
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	forget();
}

static void
forget(void)
{
	known_valid = false;
	generation++;
}
