// Activities that are finished by someone else.

import { CompleteAsyncError, activityInfo } from '@temporalio/activity';
import { Pool } from 'pg';
import { shown } from './values';

export function createActivities(db: Pool) {
  return {
    // recipe: token

    async request_approval(order: string): Promise<unknown> {
      await note(db, order); // for the test
      await db.query('SELECT temporal.record_activity($1, $2)', [order, activityInfo().taskToken]);
      throw new CompleteAsyncError();
    },

    // recipe: ids

    async request_review(id: string): Promise<unknown> {
      await note(db, id); // for the test
      const info = activityInfo();
      await db.query('INSERT INTO review VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [
        id, info.workflowExecution?.workflowId, info.activityId,
      ]);
      throw new CompleteAsyncError();
    },

    // recipe: end
  };
}

/** Tell the test of an attempt. */
async function note(db: Pool, key: string): Promise<void> {
  const info = activityInfo();
  const found = info.attempt > 1 ? JSON.stringify([shown(info.heartbeatDetails)]) : null;
  await db.query('INSERT INTO attempt VALUES ($1, $2, $3, $4)', [key, info.attempt, info.taskToken, found]);
}
