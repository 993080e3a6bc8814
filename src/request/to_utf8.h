/*-------------------------------------------------------------------------
 *
 * to_utf8.h
 *	  Texts as Temporal takes them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_TO_UTF8_H
#define TC_TO_UTF8_H

/*
 * A zero-terminated string of this database in UTF-8: the string itself if it
 * is that already, or palloc'd.  Raises an error where it cannot be UTF-8;
 * name says there what it is.  In SQL_ASCII, where any bytes may be, they are
 * verified.
 */
extern char *tc_string_to_utf8(const char *name, char *string, int len);

/* The same for an argument; the empty string for NULL. */
extern char *tc_text_to_utf8(const char *name, const text *value);

#endif							/* TC_TO_UTF8_H */
