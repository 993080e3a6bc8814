/*-------------------------------------------------------------------------
 *
 * request_payloads.h
 *	  The payloads of an encoded request: all of them, and others in their
 *	  places.  And those of a description that say what went wrong.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_REQUEST_PAYLOADS_H
#define TC_REQUEST_PAYLOADS_H

#include "lib/stringinfo.h"

#include "base/proto_reader.h"
#include "request/method.h"

/*
 * Append the payloads of a request to a Payloads message, which may have others.
 * With common_attributes messages and stack traces of failures are payloads,
 * too, as SDKs make them.  Returns how many there are; -1 if the bytes are no
 * request.  Raises errors for lack of memory only.
 */
extern int	tc_request_payloads(RequestMethod method, const uint8 *request, size_t len,
								bool common_attributes, StringInfo payloads);

/*
 * The same request with the next payloads of a Payloads message in place of its
 * own, palloc'd.  NULL if there are not enough of them, or if one of them is
 * none that Temporal would take.
 */
extern uint8 *tc_request_with_payloads(RequestMethod method, const uint8 *request, size_t len,
									   bool common_attributes, ProtoReader *payloads,
									   size_t *new_len);

/* How many payloads a Payloads message has; -1 if the bytes are none. */
extern int	tc_payloads_count(const uint8 *payloads, size_t len);

/*
 * Append to a Payloads message what failures of activities that are described
 * have in encoded_attributes, as long as there is room for so many bytes.
 * is_workflow: the reply is a DescribeWorkflowExecutionResponse, else a
 * DescribeActivityExecutionResponse.  Returns how many there are.
 */
extern int	tc_description_payloads(bool is_workflow, const uint8 *reply, size_t len,
									size_t max_bytes, StringInfo payloads);

/*
 * The same reply with the messages that a decoded Payloads message has for these
 * failures, palloc'd; what cannot be read in it leaves its failure as it is.  NULL
 * if there are not as many.
 */
extern uint8 *tc_description_decoded(bool is_workflow, const uint8 *reply, size_t len,
									 size_t max_bytes, ProtoReader *payloads, size_t *new_len);

#endif							/* TC_REQUEST_PAYLOADS_H */
