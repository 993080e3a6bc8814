/*-------------------------------------------------------------------------
 *
 * summaries.h
 *	  Ranges of a BRIN index that look-ups cannot pass over.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_SUMMARIES_H
#define TC_SUMMARIES_H

#include "storage/block.h"
#include "utils/relcache.h"

typedef struct SummaryLook
{
	int			missing;		/* full ranges without a summary */
	int			unfinished;		/* ranges of which only a placeholder is there */
	BlockNumber first_unfinished;	/* of the table */
} SummaryLook;

/*
 * Look at the summaries of a segment in an index.  What somebody is about to
 * summarize is unfinished, too: only who holds the lock for that
 * (ShareUpdateExclusiveLock on the table) knows that nobody is.
 */
extern void tc_summaries_look(Relation segment, Relation index, SummaryLook *look);

/*
 * Remove placeholders, so that the ranges can be summarized.  The caller holds
 * that lock.
 */
extern void tc_summaries_mend(Relation segment, Oid indexid);

#endif							/* TC_SUMMARIES_H */
