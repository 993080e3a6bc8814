/*-------------------------------------------------------------------------
 *
 * arguments.h
 *	  Arguments of functions that may be null.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ARGUMENTS_H
#define TC_ARGUMENTS_H

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "request/payload.h"

#define ARG_BYTEA(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_BYTEA_PP(n))
#define ARG_TEXT(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n))
#define ARG_CSTRING(n) (PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n)))
#define ARG_PAYLOAD(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_PAYLOAD_PP(n))
#define ARG_JSONB(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_JSONB_P(n))
#define ARG_INTERVAL(n) (PG_ARGISNULL(n) ? NULL : PG_GETARG_INTERVAL_P(n))
#define ARG_BOOL(n) (!PG_ARGISNULL(n) && PG_GETARG_BOOL(n))

/* The last two arguments of every verb */
#define ARG_SERVER (PG_NARGS() - 2)
#define ARG_NAMESPACE (PG_NARGS() - 1)

#endif							/* TC_ARGUMENTS_H */
