/*-------------------------------------------------------------------------
 *
 * due_heap.h
 *	  Heaps of what is due at some time: the first is that which is due first.
 *
 * For lib/pairingheap.h, of which tc_due_compare() is the comparator.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TC_DUE_HEAP_H
#define TC_DUE_HEAP_H

#include "lib/pairingheap.h"

/* Embedded in what is due; due must not change while it is in a heap. */
typedef struct DueNode
{
	pairingheap_node node;
	int64		due;			/* monotonic ms, see event_loop.h */
} DueNode;

/* A pairing heap gives the largest first. */
static inline int
tc_due_compare(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	int64		x = pairingheap_const_container(DueNode, node, a)->due;
	int64		y = pairingheap_const_container(DueNode, node, b)->due;

	return (x < y) - (x > y);
}

#endif							/* TC_DUE_HEAP_H */
