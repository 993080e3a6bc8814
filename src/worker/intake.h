/*-------------------------------------------------------------------------
 *
 * intake.h
 *	  Rows of the outbox become requests in memory.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_INTAKE_H
#define TC_INTAKE_H

#include "worker/in_memory.h"

/*---- in a transaction that reads ----*/

/* Take in the next rows of a queue that wants some, as far as there is room. */
extern void tc_intake_read(Queue *queue);

/* Is there a row to be read?  None is taken in. */
extern bool tc_intake_has_rows(Queue *queue);

/* Read requests again whose retry is due, as far as there is room. */
extern void tc_intake_reload(Queue *queue);

/*---- outside of it ----*/

/* May what was read be sent? */
extern bool tc_intake_is_durable(void);

/* Something else was read that is not certain to be durable. */
extern void tc_intake_note_undurable(void);

/* Have it be so.  False if that could not be done now. */
extern bool tc_intake_make_durable(void);

#endif							/* TC_INTAKE_H */
