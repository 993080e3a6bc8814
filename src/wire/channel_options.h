/*-------------------------------------------------------------------------
 *
 * channel_options.h
 *	  A channel's own copy of its options.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_CHANNEL_OPTIONS_H
#define TC_CHANNEL_OPTIONS_H

#include "wire/transport.h"

/*
 * Copy options, strings included; false, and nothing to free, for lack of
 * memory.  Secrets are overwritten when the copy is freed.
 */
extern bool tc_channel_options_copy(ChannelOptions *copy, const ChannelOptions *options);
extern void tc_channel_options_free(ChannelOptions *options);

#endif							/* TC_CHANNEL_OPTIONS_H */
