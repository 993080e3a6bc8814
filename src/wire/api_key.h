/*-------------------------------------------------------------------------
 *
 * api_key.h
 *	  What an API key says of itself.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_API_KEY_H
#define TC_API_KEY_H

/*
 * When a key expires that is a JWT, in seconds since 1970; 0 if it is none, or
 * does not say.  Nothing is verified.  Raises no errors.
 */
extern int64 tc_api_key_expires_at(const char *key);

#endif							/* TC_API_KEY_H */
