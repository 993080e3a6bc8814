/*-------------------------------------------------------------------------
 *
 * foreign_text.h
 *	  Text that comes from the other side, as text of this database.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_FOREIGN_TEXT_H
#define TC_FOREIGN_TEXT_H

/*
 * Strings from the wire (UTF-8, unverified) as text of this database: what
 * cannot be shown becomes '?'.  Never raises an error but for lack of memory.
 * palloc'd.  max_bytes limits the length of what is read; a character is not
 * cut.  Outside of a transaction, in a database that is neither UTF8 nor
 * SQL_ASCII, only ASCII can be shown.
 */
extern char *tc_utf8_to_server(const char *utf8, size_t len, size_t max_bytes);

/*
 * The same for words that people read: messages, versions, identities of
 * others.  What could pass for another line, drive a terminal or turn text
 * around is replaced too, and a character that was cut at the end goes.
 */
extern char *tc_words_to_server(const char *utf8);

/* Such words in a buffer of fixed size; a character is not cut. */
extern void tc_words_copy(char *buf, size_t size, const char *utf8);

/*
 * Text of this database as UTF-8, to be carried with words from the wire: what
 * cannot be converted becomes '?'.  palloc'd.  Needs a transaction; never
 * raises an error but for lack of memory.
 */
extern char *tc_words_from_server(const char *text);

/*
 * Text of this database as UTF-8, the text itself if it is that already; NULL
 * if it cannot be converted.  The same is true of it.
 */
extern char *tc_utf8_from_server(char *text);

/*
 * Valid UTF-8 without zero bytes as text of this database, all of it: palloc'd,
 * or NULL if something of it has no equivalent.  Needs a transaction.
 */
extern char *tc_utf8_as_text(const char *utf8, size_t len);

#endif							/* TC_FOREIGN_TEXT_H */
