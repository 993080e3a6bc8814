/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  The process that carries the requests of one database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_WORKER_H
#define TC_WORKER_H

/* Entry point; the argument is the OID of the database. */
extern PGDLLEXPORT void tc_worker_main(Datum arg);

#endif							/* TC_WORKER_H */
