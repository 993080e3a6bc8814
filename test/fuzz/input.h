/*-------------------------------------------------------------------------
 *
 * input.h
 *	  An input of the fuzzer that is used up from its beginning on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

extern void begin_input(const uint8 *data, size_t size);

/* How much is left */
extern size_t input_left(void);

/* The next byte, 0 at the end; as many of the next bytes as there are, of those wanted. */
extern uint8 next_byte(void);
extern size_t next_bytes(const uint8 **bytes, size_t wanted);

#endif							/* FUZZ_INPUT_H */
