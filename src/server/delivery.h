/*-------------------------------------------------------------------------
 *
 * delivery.h
 *	  The setting temporal_complete.delivery.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DELIVERY_H
#define TC_DELIVERY_H

extern void tc_delivery_define(void);

/*
 * Are requests that are made now to be sent?  Raises an error if the setting is
 * not that of somebody who may decide it for the current user.
 */
extern bool tc_delivery_is_on(void);

#endif							/* TC_DELIVERY_H */
