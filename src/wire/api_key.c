/*-------------------------------------------------------------------------
 *
 * api_key.c
 *	  What an API key says of itself.
 *
 * That of Temporal Cloud is a JWT: three parts in base64url with dots between
 * them, the second one an object in JSON, of which "exp" is a number of
 * seconds.  It is a secret: copies are overwritten.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <cjson/cJSON.h>
#include <openssl/evp.h>

#include "wire/api_key.h"

/* A longer one is not looked at: anybody may give us one */
#define MAX_CLAIMS 16384

/* Times beyond that are not meant */
#define MAX_TIME INT64CONST(253402300799)	/* the end of the year 9999 */

static int	decode(const char *text, size_t len, char *claims);
static int64 expiry_of(const char *claims, int len);

int64
tc_api_key_expires_at(const char *key)
{
	const char *begin = strchr(key, '.');
	const char *end = begin != NULL ? strchr(begin + 1, '.') : NULL;
	char		claims[MAX_CLAIMS + 4];
	int64		result = 0;
	int			len;

	if (end == NULL || end - begin - 1 > MAX_CLAIMS)
		return 0;
	len = decode(begin + 1, end - begin - 1, claims);
	if (len > 0)
		result = expiry_of(claims, len);
	explicit_bzero(claims, sizeof(claims));
	return result;
}

/* Number of bytes; -1 if it is not base64url. */
static int
decode(const char *text, size_t len, char *claims)
{
	char		padded[MAX_CLAIMS + 4];
	size_t		padding = (4 - len % 4) % 4;
	int			result;

	for (size_t i = 0; i < len; i++)
		padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];

	memset(padded + len, '=', padding);
	result = EVP_DecodeBlock((unsigned char *) claims, (unsigned char *) padded, len + padding);
	explicit_bzero(padded, sizeof(padded));
	return result < 0 ? -1 : result - (int) padding;
}

static int64
expiry_of(const char *claims, int len)
{
	cJSON	   *json = cJSON_ParseWithLength(claims, len);
	const cJSON *exp = cJSON_GetObjectItemCaseSensitive(json, "exp");
	int64		result = 0;

	if (cJSON_IsNumber(exp) && exp->valuedouble > 0 && exp->valuedouble < MAX_TIME)
		result = (int64) exp->valuedouble;
	cJSON_Delete(json);
	return result;
}
