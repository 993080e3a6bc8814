/*-------------------------------------------------------------------------
 *
 * row_write.c
 *	  Writing rows of our tables, whatever their owner has done with them.
 *
 * A table that is as it was made is written directly: that costs half as
 * much, and nothing has to be called.  Else the executor does it, as for a
 * logical replication worker: it fires triggers, fills every index, computes
 * defaults and checks constraints.  What is called then runs as the owner of
 * the extension, in a security-restricted operation, whoever the caller is.
 *
 * What would make a write do nothing, or something else, is an error: a rule,
 * a policy, a trigger that suppresses it; and so is a table that a crash would
 * empty, for rows that must last.  No row is lost without a word.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/extension.h"
#include "compat.h"
#include "outbox/row_write.h"

/* One write by the executor */
typedef struct Write
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result_rel;
	EPQState	epq;
	OwnerScope	scope;
} Write;

static bool is_direct(Relation rel, TableId id);
static void check_lasting(Relation rel, TableId id);
static void begin_write(Write *write, Relation rel);
static void end_write(Write *write);
static void fill_defaults(Write *write, int natts, TupleTableSlot *slot);
static TupleTableSlot *fetch_row(Write *write, ItemPointer tid);
static void check_written(Relation rel, bool written);
static bool still_there(Relation rel, ItemPointer tid, TupleTableSlot *slot);

PG_FUNCTION_INFO_V1(tc_writing_transaction);

void
tc_row_insert(Relation rel, TableId id, const Datum *values, const bool *nulls)
{
	int			natts = tc_table_natts(id);

	if (is_direct(rel, id))
	{
		HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), (Datum *) values, (bool *) nulls);

		tc_tuple_shorten(tuple, nulls, natts);
		CatalogTupleInsert(rel, tuple);
		heap_freetuple(tuple);
	}
	else
	{
		Write		write;
		TupleTableSlot *slot;

		check_lasting(rel, id);
		begin_write(&write, rel);
		slot = ExecInitExtraTupleSlot(write.estate, RelationGetDescr(rel), &TTSOpsVirtual);
		memcpy(slot->tts_values, values, natts * sizeof(Datum));
		memcpy(slot->tts_isnull, nulls, natts * sizeof(bool));
		fill_defaults(&write, natts, slot);
		ExecStoreVirtualTuple(slot);
		ItemPointerSetInvalid(&slot->tts_tid);
		ExecSimpleRelationInsert(write.result_rel, write.estate, slot);
		check_written(rel, ItemPointerIsValid(&slot->tts_tid));
		end_write(&write);
	}
}

void
tc_row_update(Relation rel, TableId id, ItemPointer tid, const Datum *values,
			  const bool *nulls, const bool *replace)
{
	int			natts = tc_table_natts(id);
	bool		direct = is_direct(rel, id);
	Write		write;
	TupleTableSlot *old;
	TupleTableSlot *new;

	if (direct)
	{
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		HeapTuple	tuple;

		if (!table_tuple_fetch_row_version(rel, tid, GetActiveSnapshot(), slot))
			check_written(rel, false);
		tuple = ExecCopySlotHeapTuple(slot);
		tuple = heap_modify_tuple(tuple, RelationGetDescr(rel), (Datum *) values,
								  (bool *) nulls, (bool *) replace);
		CatalogTupleUpdate(rel, tid, tuple);
		heap_freetuple(tuple);
		ExecDropSingleTupleTableSlot(slot);
		return;
	}

	begin_write(&write, rel);
	old = fetch_row(&write, tid);
	slot_getallattrs(old);
	new = ExecInitExtraTupleSlot(write.estate, RelationGetDescr(rel), &TTSOpsVirtual);
	memcpy(new->tts_values, old->tts_values, RelationGetDescr(rel)->natts * sizeof(Datum));
	memcpy(new->tts_isnull, old->tts_isnull, RelationGetDescr(rel)->natts * sizeof(bool));
	for (int i = 0; i < natts; i++)
		if (replace[i])
		{
			new->tts_values[i] = values[i];
			new->tts_isnull[i] = nulls[i];
		}
	ExecStoreVirtualTuple(new);
	EvalPlanQualSetSlot(&write.epq, new);
	ExecSimpleRelationUpdate(write.result_rel, write.estate, &write.epq, old, new);
	check_written(rel, !still_there(rel, tid, old));
	end_write(&write);
}

void
tc_row_delete(Relation rel, TableId id, ItemPointer tid)
{
	Write		write;
	TupleTableSlot *row;

	if (tc_table_is_as_made(rel, id))
	{
		CatalogTupleDelete(rel, tid);
		return;
	}
	begin_write(&write, rel);
	row = fetch_row(&write, tid);
	EvalPlanQualSetSlot(&write.epq, row);
	ExecSimpleRelationDelete(write.result_rel, write.estate, &write.epq, row);
	check_written(rel, !still_there(rel, tid, row));
	end_write(&write);
}

/* SQL: writing_transaction() returns xid */
Datum
tc_writing_transaction(PG_FUNCTION_ARGS)
{
	PG_RETURN_TRANSACTIONID(GetCurrentTransactionId());
}

bool
tc_row_is_of_its_writer(HeapTuple tuple, Datum written_by)
{
	return TransactionIdEquals(DatumGetTransactionId(written_by),
							   HeapTupleHeaderGetRawXmin(tuple->t_data));
}

void
tc_tuple_shorten(HeapTuple tuple, const bool *nulls, int natts)
{
	HeapTupleHeader header = tuple->t_data;
	int			surplus;

	while (natts > 0 && nulls[natts - 1])
		natts--;
	for (int i = 0; i < natts; i++)
		if (nulls[i])
			return;
	if (!HeapTupleHasNulls(tuple))
		return;

	surplus = header->t_hoff - MAXALIGN(SizeofHeapTupleHeader);
	header->t_hoff -= surplus;
	memmove((char *) header + header->t_hoff, (char *) header + header->t_hoff + surplus,
			tuple->t_len - header->t_hoff - surplus);
	tuple->t_len -= surplus;
	HeapTupleHeaderSetNatts(header, natts);
	header->t_infomask &= ~HEAP_HASNULL;
}

/* Whether a row is in a partial index only the executor finds out. */
static bool
is_direct(Relation rel, TableId id)
{
	return tc_table_is_as_made(rel, id) && !tc_table_has_partial_index(id);
}

/*
 * Requests, also those that were rejected and may be retried, and whose they
 * are.
 */
static void
check_lasting(Relation rel, TableId id)
{
	if (id == TABLE_OUTBOX || id == TABLE_QUEUE || id == TABLE_REJECTED)
		tc_relation_must_last(rel);
}

/* As the owner of the extension until end_write(), or an error. */
static void
begin_write(Write *write, Relation rel)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	if (rel->rd_rel->relkind != RELKIND_RELATION || tc_table_has_rules(rel))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot write table \"%s.%s\" of temporal_complete",
						get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel)),
				 errdetail("It has rules, or is no plain table."),
				 errhint("Drop its rules; triggers are possible.")));

	write->rel = rel;
	tc_owner_enter(&write->scope);

	/*
	 * policies that apply to the owner are an error, because row_security is
	 * off
	 */
	(void) check_enable_rls(RelationGetRelid(rel), InvalidOid, false);

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(rel);
	entry->relkind = rel->rd_rel->relkind;
	entry->rellockmode = AccessShareLock;
	write->estate = CreateExecutorState();
	tc_init_range_table(write->estate, entry);
	write->result_rel = makeNode(ResultRelInfo);
	InitResultRelInfo(write->result_rel, rel, 1, NULL, 0);
	/* where triggers look for it */
	write->estate->es_opened_result_relations =
		lappend(write->estate->es_opened_result_relations, write->result_rel);
	write->estate->es_output_cid = GetCurrentCommandId(true);
	write->estate->es_snapshot = GetActiveSnapshot();
	AfterTriggerBeginQuery();
	tc_eval_plan_qual_init(&write->epq, write->estate);
	ExecOpenIndices(write->result_rel, false);
}

static void
end_write(Write *write)
{
	ExecCloseIndices(write->result_rel);
	EvalPlanQualEnd(&write->epq);
	AfterTriggerEndQuery(write->estate);
	ExecResetTupleTable(write->estate->es_tupleTable, false);
	FreeExecutorState(write->estate);
	tc_owner_leave(&write->scope);
}

/* Columns that this library does not know get their defaults. */
static void
fill_defaults(Write *write, int natts, TupleTableSlot *slot)
{
	TupleDesc	desc = RelationGetDescr(write->rel);
	ExprContext *context = GetPerTupleExprContext(write->estate);

	for (int i = natts; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);
		Expr	   *expr = NULL;

		slot->tts_isnull[i] = true;
		slot->tts_values[i] = (Datum) 0;
		if (!attr->attisdropped && attr->attgenerated == '\0')
			expr = (Expr *) build_column_default(write->rel, i + 1);
		if (expr != NULL)
			slot->tts_values[i] = ExecEvalExpr(ExecInitExpr(expression_planner(expr), NULL),
											   context, &slot->tts_isnull[i]);
	}
}

static TupleTableSlot *
fetch_row(Write *write, ItemPointer tid)
{
	TupleTableSlot *slot = table_slot_create(write->rel, &write->estate->es_tupleTable);

	check_written(write->rel,
				  table_tuple_fetch_row_version(write->rel, tid, GetActiveSnapshot(), slot));
	return slot;
}

static void
check_written(Relation rel, bool written)
{
	if (!written)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("a row of table \"%s.%s\" of temporal_complete was not written",
						get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel)),
				 errhint("A trigger of this table must not suppress what is done to its rows.")));
}

/* Has that version of the row survived what was just done to it? */
static bool
still_there(Relation rel, ItemPointer tid, TupleTableSlot *slot)
{
	ItemPointerData old = *tid;

	ExecClearTuple(slot);
	return table_tuple_fetch_row_version(rel, &old, SnapshotSelf, slot);
}
