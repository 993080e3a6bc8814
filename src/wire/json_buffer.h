/*-------------------------------------------------------------------------
 *
 * json_buffer.h
 *	  Bytes that are put together: malloc'd, bounded, without errors.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_JSON_BUFFER_H
#define TC_JSON_BUFFER_H

/* To be zeroed but for max; bytes is to be freed. */
typedef struct JsonBuffer
{
	uint8	   *bytes;
	size_t		len;
	size_t		size;
	size_t		max;
	int			depth;			/* messages that are within each other */
	bool		failed;			/* for lack of memory, or over max: no more is
								 * added */
} JsonBuffer;

/* Room for so many more bytes at the end, or NULL. */
static inline uint8 *
tc_json_room(JsonBuffer *buffer, size_t len)
{
	if (buffer->failed || len > buffer->max - buffer->len)
		buffer->failed = true;
	else if (len > buffer->size - buffer->len)
	{
		size_t		size = Min(Max(2 * buffer->size, buffer->len + len + 128), buffer->max);
		uint8	   *grown = realloc(buffer->bytes, size);

		if (grown == NULL)
			buffer->failed = true;
		else
		{
			buffer->bytes = grown;
			buffer->size = size;
		}
	}
	return buffer->failed ? NULL : buffer->bytes + buffer->len;
}

static inline void
tc_json_add(JsonBuffer *buffer, const void *bytes, size_t len)
{
	uint8	   *room = tc_json_room(buffer, len);

	if (room != NULL && len > 0)
	{
		memcpy(room, bytes, len);
		buffer->len += len;
	}
}

static inline void
tc_json_add_text(JsonBuffer *buffer, const char *text)
{
	tc_json_add(buffer, text, strlen(text));
}

#endif							/* TC_JSON_BUFFER_H */
