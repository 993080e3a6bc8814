/*-------------------------------------------------------------------------
 *
 * request_id.c
 *	  Drawing the id that the next request gets.
 *
 * nextval() would do, but it also becomes what lastval() of the session
 * returns, and an application whose trigger makes a request would find our
 * id in place of the key of its own row.  The server has no way to put that
 * back.  So the sequence is advanced here as nextval() does it, without a
 * session's memory of it: ids are unique, in the order of the calls over all
 * sessions, and not given twice after a crash.
 *
 * Its tuple is one of a kind: not versioned, changed in place under the lock
 * of its page.  WAL is written for 32 ids at once, with the last of them, so a
 * crash loses some ids and repeats none.  nextval(), setval() and ALTER
 * SEQUENCE by its owner may be mixed with this; its ids always go up by one.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_class.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"

#include "compat.h"
#include "outbox/outbox.h"
#include "outbox/tables.h"

/* As in the server's sequence.c */
#define SEQUENCE_MAGIC 0x1717
#define IDS_LOGGED_AHEAD 32

static Form_pg_sequence_data lock_sequence(Relation rel, Buffer *buffer, HeapTuple tuple);
static int64 advance(Relation rel, Buffer buffer, HeapTuple tuple, Form_pg_sequence_data sequence);
static void log_state(Relation rel, Buffer buffer, HeapTuple tuple);

int64
tc_outbox_next_id(void)
{
	Relation	rel = relation_open(tc_required_relation_oid("request_id"), RowExclusiveLock);
	HeapTupleData tuple;
	Buffer		buffer;
	Form_pg_sequence_data sequence;
	int64		id;

	if (rel->rd_rel->relkind != RELKIND_SEQUENCE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a sequence", RelationGetRelationName(rel))));
	tc_relation_must_last(rel);
	/* so that the commit flushes what is logged below, and waits for standbys */
	(void) GetTopTransactionId();

	sequence = lock_sequence(rel, &buffer, &tuple);
	id = advance(rel, buffer, &tuple, sequence);
	UnlockReleaseBuffer(buffer);
	/* the lock is kept until the transaction ends, as by nextval() */
	relation_close(rel, NoLock);
	return id;
}

int64
tc_outbox_last_id(void)
{
	Relation	rel = relation_open(tc_required_relation_oid("request_id"), AccessShareLock);
	HeapTupleData tuple;
	Buffer		buffer;
	int64		id = 0;

	if (rel->rd_rel->relkind == RELKIND_SEQUENCE)
	{
		id = lock_sequence(rel, &buffer, &tuple)->last_value;
		UnlockReleaseBuffer(buffer);
	}
	relation_close(rel, NoLock);
	return id;
}

/* The sequence's state, in its buffer, which is locked. */
static Form_pg_sequence_data
lock_sequence(Relation rel, Buffer *buffer, HeapTuple tuple)
{
	Page		page;
	ItemId		item;

	*buffer = ReadBuffer(rel, 0);
	LockBuffer(*buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(*buffer);
	if (*(uint32 *) PageGetSpecialPointer(page) != SEQUENCE_MAGIC)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("sequence \"%s\" is damaged", RelationGetRelationName(rel))));
	item = PageGetItemId(page, FirstOffsetNumber);
	Assert(ItemIdIsNormal(item));
	tuple->t_data = (HeapTupleHeader) PageGetItem(page, item);
	tuple->t_len = ItemIdGetLength(item);
	return (Form_pg_sequence_data) GETSTRUCT(tuple);
}

/*
 * Something has to be logged if what was logged ahead is used up, and for the
 * first id after a checkpoint, from which recovery might begin.
 */
static int64
advance(Relation rel, Buffer buffer, HeapTuple tuple, Form_pg_sequence_data sequence)
{
	int64		id = sequence->last_value;
	int64		ahead = sequence->log_cnt;
	bool		log;

	if (sequence->is_called)
	{
		if (id > PG_INT64_MAX - IDS_LOGGED_AHEAD - 1)
			ereport(ERROR,
					(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
					 errmsg("sequence \"%s\" has no more values", RelationGetRelationName(rel))));
		id++;
	}
	log = ahead < 1 || !sequence->is_called ||
		PageGetLSN(BufferGetPage(buffer)) <= GetRedoRecPtr();

	START_CRIT_SECTION();

	/*
	 * before the record is inserted; nobody sees the page until it is
	 * unlocked
	 */
	MarkBufferDirty(buffer);
	if (log)
	{
		ahead = IDS_LOGGED_AHEAD;
		sequence->last_value = id + ahead;
		sequence->is_called = true;
		sequence->log_cnt = 0;
		log_state(rel, buffer, tuple);
	}
	else
		ahead--;
	sequence->last_value = id;
	sequence->is_called = true;
	sequence->log_cnt = ahead;
	END_CRIT_SECTION();
	return id;
}

/* In a critical section: no error may be raised. */
static void
log_state(Relation rel, Buffer buffer, HeapTuple tuple)
{
	xl_seq_rec	record = TC_SEQUENCE_RECORD(rel);
	XLogRecPtr	end;

	if (!RelationNeedsWAL(rel))
		return;
	XLogBeginInsert();
	XLogRegisterBuffer(0, buffer, REGBUF_WILL_INIT);
	XLogRegisterData((char *) &record, sizeof(record));
	XLogRegisterData((char *) tuple->t_data, tuple->t_len);
	/* a variable, because PageSetLSN() uses its argument twice */
	end = XLogInsert(RM_SEQ_ID, XLOG_SEQ_LOG);
	PageSetLSN(BufferGetPage(buffer), end);
}
