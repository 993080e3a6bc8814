/*-------------------------------------------------------------------------
 *
 * channel_clock.c
 *	  What time it is at the other end of a channel.
 *
 * No message of Temporal says so.  Its HTTP API has the header "date", and so
 * have proxies before gRPC; a Temporal server that is asked by gRPC directly
 * does not tell.
 *
 * Source: RFC 9110, 5.6.7.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <time.h>

#include "base/event_loop.h"
#include "wire/channel.h"

/* It is looked at not more often than that */
#define LOOK_EVERY_MS 10000

/* Sun, 06 Nov 1994 08:49:37 GMT */
#define DATE_LEN 29

static bool read_date(const char *value, size_t len, time_t *date);

ChannelClock
tc_channel_clock(const Channel *channel)
{
	return channel->clock;
}

void
tc_channel_tell_date(Channel *channel, const char *value, size_t len)
{
	int64		now = tc_monotonic_ms();
	time_t		date;

	if ((channel->clock.known && now < channel->clock_after) || !read_date(value, len, &date))
		return;
	channel->clock_after = now + LOOK_EVERY_MS;
	channel->clock.known = true;
	channel->clock.ahead = (int64) date - (int64) time(NULL);
}

static bool
read_date(const char *value, size_t len, time_t *date)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char text[	DATE_LEN + 1];
	char		month[4];
	const char *found;
	struct tm	tm = {0};

	if (len != DATE_LEN)
		return false;
	memcpy(text, value, len);
	text[		len] = '\0';

	if (sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &tm.tm_mday, month, &tm.tm_year,
			   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6 ||
		strlen(month) != 3 || (found = strstr(months, month)) == NULL || (found - months) % 3 != 0)
		return false;
	tm.tm_mon = (found - months) / 3;
	tm.tm_year -= 1900;
	*date = timegm(&tm);
	return true;
}
