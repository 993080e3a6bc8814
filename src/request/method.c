/*-------------------------------------------------------------------------
 *
 * method.c
 *	  The methods of Temporal's API by which requests are sent: one table.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "request/method.h"

typedef struct MethodInfo
{
	const char *path;
	const char *verb;
	bool		by_id;
} MethodInfo;

static const MethodInfo methods[] = {
	[METHOD_COMPLETE] =
	{WORKFLOW_SERVICE "RespondActivityTaskCompleted", "complete", false},
	[METHOD_COMPLETE_BY_ID] =
	{WORKFLOW_SERVICE "RespondActivityTaskCompletedById", "complete", true},
	[METHOD_FAIL] =
	{WORKFLOW_SERVICE "RespondActivityTaskFailed", "fail", false},
	[METHOD_FAIL_BY_ID] =
	{WORKFLOW_SERVICE "RespondActivityTaskFailedById", "fail", true},
	[METHOD_REPORT_CANCELLATION] =
	{WORKFLOW_SERVICE "RespondActivityTaskCanceled", "report_cancellation", false},
	[METHOD_REPORT_CANCELLATION_BY_ID] =
	{WORKFLOW_SERVICE "RespondActivityTaskCanceledById", "report_cancellation", true},
	[METHOD_HEARTBEAT] =
	{WORKFLOW_SERVICE "RecordActivityTaskHeartbeat", "heartbeat", false},
	[METHOD_HEARTBEAT_BY_ID] =
	{WORKFLOW_SERVICE "RecordActivityTaskHeartbeatById", "heartbeat", true},
};

bool
tc_method_is_valid(int method)
{
	return method >= METHOD_FIRST && method <= METHOD_LAST;
}

const char *
tc_method_path(RequestMethod method)
{
	return methods[method].path;
}

const char *
tc_method_verb(RequestMethod method)
{
	return methods[method].verb;
}

bool
tc_method_is_heartbeat(RequestMethod method)
{
	return method == METHOD_HEARTBEAT || method == METHOD_HEARTBEAT_BY_ID;
}

bool
tc_method_ends_activity(RequestMethod method)
{
	return method == METHOD_COMPLETE || method == METHOD_COMPLETE_BY_ID ||
		method == METHOD_REPORT_CANCELLATION || method == METHOD_REPORT_CANCELLATION_BY_ID;
}

bool
tc_method_by_id(RequestMethod method)
{
	return methods[method].by_id;
}
