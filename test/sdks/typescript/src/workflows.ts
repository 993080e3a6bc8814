// The workflow of the comparison.

import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  proxyActivities,
} from '@temporalio/workflow';
import { shown } from './values';

type Task = { activity: string; key: string; as: string; attempts: number };

/** They are there if there are some. */
function causes(error: Error): object {
  const found = [];
  for (let next = error.cause; next instanceof ApplicationFailure; next = next.cause) {
    found.push({
      message: next.message,
      type: next.type ?? '',
      details: (next.details ?? []).map(shown),
      non_retryable: next.nonRetryable ?? false,
    });
  }
  return found.length > 0 ? { causes: found } : {};
}

/** It returns what it was told about its activity. There are no types at run time, so none is asked for. */
export async function Wait(task: Task): Promise<object> {
  const activities = proxyActivities<Record<string, (key: string) => Promise<unknown>>>({
    startToCloseTimeout: '1 minute',
    retry: { maximumAttempts: task.attempts },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  try {
    return { value: shown(await activities[task.activity](task.key)) };
  } catch (error) {
    const cause = error instanceof ActivityFailure ? error.cause : undefined;
    if (cause instanceof ApplicationFailure) {
      return {
        failure: {
          kind: 'application',
          message: cause.message,
          type: cause.type ?? '',
          details: (cause.details ?? []).map(shown),
          non_retryable: cause.nonRetryable ?? false,
          next_retry_delay_ms: cause.nextRetryDelay ?? 0,
          benign: cause.category === 'BENIGN',
          ...causes(cause),
        },
      };
    }
    if (cause instanceof CancelledFailure) {
      return {
        failure: {
          kind: 'canceled',
          message: '',
          type: '',
          details: cause.details.map(shown),
          non_retryable: false,
          next_retry_delay_ms: 0,
          benign: false,
        },
      };
    }
    throw error;
  }
}
