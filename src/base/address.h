/*-------------------------------------------------------------------------
 *
 * address.h
 *	  "host:port", taken apart.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_ADDRESS_H
#define TC_ADDRESS_H

/* Room for a host, brackets and the end included */
#define TC_HOST_SIZE 256

/*
 * Take an address apart: the host, of which an IPv6 address keeps its
 * brackets, into host (of TC_HOST_SIZE bytes), and the port, 0 if there is
 * none.  Returns NULL, or a constant sentence that says what is wrong.
 */
extern const char *tc_address_split(const char *address, char *host, int *port);

/* Can it be a host name, or an IP address? */
extern bool tc_is_host(const char *host);

#endif							/* TC_ADDRESS_H */
