/*-------------------------------------------------------------------------
 *
 * input.c
 *	  An input of the fuzzer that is used up from its beginning on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "input.h"

static const uint8 *input;
static size_t input_len;

void
begin_input(const uint8 *data, size_t size)
{
	input = data;
	input_len = size;
}

size_t
input_left(void)
{
	return input_len;
}

uint8
next_byte(void)
{
	if (input_len == 0)
		return 0;
	input_len--;
	return *input++;
}

size_t
next_bytes(const uint8 **bytes, size_t wanted)
{
	size_t		len = Min(wanted, input_len);

	*bytes = input;
	input += len;
	input_len -= len;
	return len;
}
