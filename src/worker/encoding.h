/*-------------------------------------------------------------------------
 *
 * encoding.h
 *	  Payloads go through a server's codec server before they are sent.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ENCODING_H
#define TC_ENCODING_H

#include "worker/in_memory.h"

/* What became of it */
typedef enum EncodeVerdict
{
	ENCODE_DONE,				/* the bytes can be sent */
	ENCODE_PUT_BACK,			/* it was not its turn: as if never asked for */
	ENCODE_FAILED,				/* to be tried again later; for all that is
								 * known it is the only one */
	ENCODE_REFUSED				/* for good */
} EncodeVerdict;

typedef struct EncodeResult
{
	EncodeVerdict verdict;
	uint8	   *bytes;			/* ENCODE_DONE: palloc'd */
	size_t		len;
	const char *code;			/* FAILED, REFUSED: constant */
	const char *message;		/* the same; has nothing of what was encoded */
} EncodeResult;

typedef void (*EncodeOver) (void *arg, const EncodeResult *result);

/* Something encoded as a request is, of a queue whose channel has a codec server */
typedef struct Encodable
{
	RequestMethod method;
	const uint8 *bytes;			/* stay where they are until it is over */
	size_t		len;
	bool		alone;			/* it failed before: with others it would have
								 * them fail, too */
	EncodeOver	over;
	void	   *arg;
} Encodable;

typedef enum EncodeBegin
{
	ENCODE_NEEDLESS,			/* it has no payloads, and can be sent */
	ENCODE_BEGUN,				/* over() will be called, by
								 * tc_encodings_settle() */
	ENCODE_NO_ROOM,				/* not now */
	ENCODE_MALFORMED			/* it is none */
} EncodeBegin;

extern void tc_encodings_init(void);

/*
 * Its channel's codec server has to be connected, apart from what needs none.
 * What has begun stays together with what begins next for the same queue, until
 * it is many, or tc_encodings_flush() is called.
 */
extern EncodeBegin tc_encode(Queue *queue, const Encodable *it);
extern void tc_encodings_flush(void);

/* Say what became of those that are over; outside of callbacks of the wire. */
extern void tc_encodings_settle(void);

/* Can what needs it be encoded?  Like tc_channels_connect(). */
extern bool tc_encoding_is_ready(Queue *queue);

#endif							/* TC_ENCODING_H */
