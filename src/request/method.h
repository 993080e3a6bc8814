/*-------------------------------------------------------------------------
 *
 * method.h
 *	  The methods of Temporal's API by which requests are sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_METHOD_H
#define TC_METHOD_H

/* What the paths of calls begin with */
#define WORKFLOW_SERVICE "/temporal.api.workflowservice.v1.WorkflowService/"

/* Values of temporal_internal.outbox.method: stored, so never renumbered */
typedef enum RequestMethod
{
	METHOD_COMPLETE = 1,
	METHOD_COMPLETE_BY_ID,
	METHOD_FAIL,
	METHOD_FAIL_BY_ID,
	METHOD_REPORT_CANCELLATION,
	METHOD_REPORT_CANCELLATION_BY_ID,
	METHOD_HEARTBEAT,
	METHOD_HEARTBEAT_BY_ID
} RequestMethod;

#define METHOD_FIRST METHOD_COMPLETE
#define METHOD_LAST METHOD_HEARTBEAT_BY_ID

/* Path of the calls of a method: WORKFLOW_SERVICE and its name. */
extern const char *tc_method_path(RequestMethod method);

/* Verb of a method as the view shows it: complete, fail, report_cancellation, heartbeat. */
extern const char *tc_method_verb(RequestMethod method);

extern bool tc_method_is_heartbeat(RequestMethod method);

/* Is the activity over when it is taken, without another attempt? */
extern bool tc_method_ends_activity(RequestMethod method);

/* Does it name the activity by ids, not by task token? */
extern bool tc_method_by_id(RequestMethod method);

/* Is there a method of that number? */
extern bool tc_method_is_valid(int method);

#endif							/* TC_METHOD_H */
