/*-------------------------------------------------------------------------
 *
 * classify.c
 *	  What the result of a call means for a request.
 *
 * One table, and no state: what to do next is the dispatcher's business.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "wire/classify.h"
#include "wire/codec.h"

/* gRPC status codes (grpc/doc/statuscodes.md) */
enum
{
	GRPC_OK,
	GRPC_CANCELLED,
	GRPC_UNKNOWN,
	GRPC_INVALID_ARGUMENT,
	GRPC_DEADLINE_EXCEEDED,
	GRPC_NOT_FOUND,
	GRPC_ALREADY_EXISTS,
	GRPC_PERMISSION_DENIED,
	GRPC_RESOURCE_EXHAUSTED,
	GRPC_FAILED_PRECONDITION,
	GRPC_ABORTED,
	GRPC_OUT_OF_RANGE,
	GRPC_UNIMPLEMENTED,
	GRPC_INTERNAL,
	GRPC_UNAVAILABLE,
	GRPC_DATA_LOSS,
	GRPC_UNAUTHENTICATED
};

/*
 * By status, and where it matters by the type of the error detail
 * (temporal.api.errordetails.v1) or a part of the message.  The first row
 * that fits counts; the last row of a status has neither.
 */
typedef struct StatusMeaning
{
	int			status;
	const char *name;
	const char *detail_type;
	const char *message_part;
	CallMeaning meaning;
} StatusMeaning;

static const StatusMeaning meanings[] =
{
	{GRPC_OK, "OK", NULL, NULL, MEANING_DELIVERED},
	{GRPC_CANCELLED, "CANCELLED", NULL, NULL, MEANING_RETRY},
	{GRPC_UNKNOWN, "UNKNOWN", NULL, NULL, MEANING_RETRY},
	{GRPC_INVALID_ARGUMENT, "INVALID_ARGUMENT", NULL, NULL, MEANING_REJECTED},
	{GRPC_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", NULL, NULL, MEANING_RETRY},
	{GRPC_NOT_FOUND, "NOT_FOUND", "NamespaceNotFoundFailure", NULL, MEANING_NEEDS_OPERATOR},
	{GRPC_NOT_FOUND, "NOT_FOUND", NULL, NULL, MEANING_GONE},
	{GRPC_ALREADY_EXISTS, "ALREADY_EXISTS", NULL, NULL, MEANING_REJECTED},
	{GRPC_PERMISSION_DENIED, "PERMISSION_DENIED", NULL, NULL, MEANING_NEEDS_OPERATOR},
	/* a message over gRPC's limit never gets smaller */
	{GRPC_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", NULL, "larger than max", MEANING_REJECTED},
	{GRPC_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", NULL, NULL, MEANING_THROTTLED},
	{GRPC_FAILED_PRECONDITION, "FAILED_PRECONDITION", "NamespaceNotActiveFailure", NULL, MEANING_RETRY},
	{GRPC_FAILED_PRECONDITION, "FAILED_PRECONDITION", "NamespaceInvalidStateFailure", NULL, MEANING_NEEDS_OPERATOR},
	{GRPC_FAILED_PRECONDITION, "FAILED_PRECONDITION", "ClientVersionNotSupportedFailure", NULL, MEANING_NEEDS_OPERATOR},
	{GRPC_FAILED_PRECONDITION, "FAILED_PRECONDITION", "ServerVersionNotSupportedFailure", NULL, MEANING_NEEDS_OPERATOR},

	/*
	 * for instance, before 1.32: cancellation of a standalone activity was
	 * not requested
	 */
	{GRPC_FAILED_PRECONDITION, "FAILED_PRECONDITION", NULL, NULL, MEANING_REJECTED},
	{GRPC_ABORTED, "ABORTED", NULL, NULL, MEANING_RETRY},
	{GRPC_OUT_OF_RANGE, "OUT_OF_RANGE", NULL, NULL, MEANING_RETRY},
	{GRPC_UNIMPLEMENTED, "UNIMPLEMENTED", NULL, NULL, MEANING_NEEDS_OPERATOR},
	{GRPC_INTERNAL, "INTERNAL", NULL, NULL, MEANING_RETRY},
	{GRPC_UNAVAILABLE, "UNAVAILABLE", NULL, NULL, MEANING_RETRY},
	{GRPC_DATA_LOSS, "DATA_LOSS", NULL, NULL, MEANING_RETRY},
	{GRPC_UNAUTHENTICATED, "UNAUTHENTICATED", NULL, NULL, MEANING_NEEDS_OPERATOR},
};

CallMeaning
tc_classify(const CallResult *result)
{
	if (result->fate == CALL_NOT_PROCESSED)
		return MEANING_SEND_AGAIN;
	if (result->fate == CALL_AMBIGUOUS)
		return MEANING_RETRY;

	for (int i = 0; i < lengthof(meanings); i++)
	{
		if (meanings[i].status != result->grpc_status)
			continue;
		if (meanings[i].detail_type != NULL &&
			strcmp(meanings[i].detail_type, result->detail_type) != 0)
			continue;
		if (meanings[i].message_part != NULL &&
			strstr(result->message, meanings[i].message_part) == NULL)
			continue;
		return meanings[i].meaning;
	}
	/* a status that gRPC does not know */
	return MEANING_RETRY;
}

/*
 * Only a refusal proves that nothing happened: other errors can come from a
 * database that committed too late, or from a proxy that gave up.
 */
bool
tc_may_have_taken_effect(const CallResult *result)
{
	if (result->fate != CALL_ANSWERED)
		return result->fate == CALL_AMBIGUOUS;

	switch (tc_classify(result))
	{
		case MEANING_RETRY:
			return true;
		case MEANING_THROTTLED:
		case MEANING_NEEDS_OPERATOR:
		case MEANING_DELIVERED:
		case MEANING_REJECTED:
		case MEANING_GONE:
		case MEANING_SEND_AGAIN:
			break;
	}
	return false;
}

const char *
tc_error_code(const CallResult *result)
{
	if (result->fate == CALL_AMBIGUOUS)
		return "NO_ANSWER";
	if (result->fate == CALL_NOT_PROCESSED)
		return "NOT_PROCESSED";
	for (int i = 0; i < lengthof(meanings); i++)
		if (meanings[i].status == result->grpc_status)
			return meanings[i].name;
	return "UNKNOWN";
}

/* Those that mean REJECTED and GONE, and words of our own */
static const char *const rejection_codes[] = {
	"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION", "ACTIVITY_NOT_FOUND", "KEY_NOT_RECORDED", "KEY_AMBIGUOUS",
	"EXPIRED", "MALFORMED", TC_CODEC_IS_REFUSED, TC_CODEC_BAD_ANSWER
};

bool
tc_is_rejection_code(const char *code)
{
	for (int i = 0; i < lengthof(rejection_codes); i++)
		if (strcmp(rejection_codes[i], code) == 0)
			return true;
	return false;
}

const char *
tc_rejection_codes(void)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(rejection_codes); i++)
		appendStringInfo(&list, "%s%s", i == 0 ? "" : i == lengthof(rejection_codes) - 1 ? " and " : ", ",
						 rejection_codes[i]);
	return list.data;
}
