/*-------------------------------------------------------------------------
 *
 * option_changes.h
 *	  Which queues may be concerned by what has changed in catalogs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_OPTION_CHANGES_H
#define TC_OPTION_CHANGES_H

#include "request/queue_key.h"

/* By which hashes the rows of a queue's server and user mappings are known */
typedef struct OptionHashes
{
	uint32		server;
	uint32		mapping;		/* of its role's own */
	uint32		public_mapping;
} OptionHashes;

/* Needs a transaction. */
extern void tc_option_changes_init(void);

/* Needs a transaction. */
extern OptionHashes tc_option_hashes(const QueueKey *key);

/*
 * May options, or rights to use them, have changed?  Looks also at what other
 * sessions have committed since the last transaction; needs none.
 */
extern bool tc_options_changed(void);

/* What has changed, may it concern a queue with these? */
extern bool tc_option_changes_concern(const OptionHashes *hashes);

/* All queues that it concerns are going to look. */
extern void tc_option_changes_seen(void);

#endif							/* TC_OPTION_CHANGES_H */
