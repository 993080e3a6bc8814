// A worker of the TypeScript SDK whose activities are finished by someone else; see ../../README.md.

import { ApplicationFailure, Client, Connection } from '@temporalio/client';
import { type Payload, type PayloadCodec } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import { NativeConnection, Worker } from '@temporalio/worker';
import { Pool } from 'pg';
import { createInterface } from 'readline';
import { createActivities } from './activities';

/** Reads what is encrypted, and encrypts if it is told to. It is no cipher worth the name. */
class Codec implements PayloadCodec {
  constructor(readonly encrypting: boolean) {}

  async encode(payloads: Payload[]): Promise<Payload[]> {
    if (!this.encrypting) {
      return payloads;
    }
    const metadata = { encoding: Buffer.from('binary/encrypted'), 'encryption-key-id': Buffer.from('k1') };
    return payloads.map((p) => ({ metadata, data: veil(temporal.api.common.v1.Payload.encode(p).finish()) }));
  }

  async decode(payloads: Payload[]): Promise<Payload[]> {
    return payloads.map((p) =>
      p.metadata?.encoding && Buffer.from(p.metadata.encoding).toString() === 'binary/encrypted'
        ? temporal.api.common.v1.Payload.decode(veil(p.data!))
        : p,
    );
  }
}

function veil(data: Uint8Array): Uint8Array {
  return data.map((b) => b ^ 0x5a);
}

interface Order {
  id: number;
  item: string;
  approved: boolean;
}

const order: Order = { id: 7, item: 'a book', approved: true };

/** Values as a user of TypeScript has them. */
const values: Record<string, unknown> = {
  string: 'straße "1" 中\n\t<&>',
  number: 12.5,
  integer: 42,
  null: null,
  'JSON null': null,
  object: { sku: 17, missing: [1, 2], deep: { er: null } },
  bytes: new Uint8Array([0, 255, 16]),
  class: order,
  encrypted: 'secret',
};

type Command = { verb: string; value: string; token?: string; workflow_id: string; activity_id: string };

function withCauses(): ApplicationFailure {
  const cut = ApplicationFailure.create({ message: 'the cable is cut', type: 'Broken' });
  const silent = ApplicationFailure.create({
    message: 'no answer from shelf 7 中',
    type: 'Timeout',
    details: [{ after: [5, 's'] }],
    nonRetryable: true,
    cause: cut,
  });
  return ApplicationFailure.create({ message: 'no more stock, señor', type: 'OutOfStock', cause: silent });
}

/** Do what a command says by the SDK's own client. */
async function carryOut(client: Client, command: Command): Promise<void> {
  // the overloads do not take one or the other, so one is said to be the other
  const which = (
    command.token
      ? Buffer.from(command.token, 'base64')
      : { workflowId: command.workflow_id, activityId: command.activity_id }
  ) as Uint8Array;
  const value = values[command.value];
  switch (command.verb) {
    case 'complete':
      return await client.activity.complete(which, value);
    case 'cancel':
      return await client.activity.reportCancellation(which, value);
    case 'heartbeat':
      return await client.activity.heartbeat(which, value);
  }
  if (command.value === 'causes') {
    return await client.activity.fail(which, withCauses());
  }
  await client.activity.fail(
    which,
    command.value === 'message'
      ? ApplicationFailure.create({ message: 'no more stock, señor' })
      : ApplicationFailure.create({
          message: 'no more stock, señor',
          type: 'OutOfStock',
          details: command.value === 'none' ? [] : [value],
          nonRetryable: true,
          nextRetryDelay: '90 seconds',
          category: 'BENIGN',
        }),
  );
}

function answer(what: object): void {
  console.log(JSON.stringify(what));
}

async function main(): Promise<void> {
  const address = process.env.TEMPORAL_ADDRESS;
  const dataConverter = { payloadCodecs: [new Codec(false)] };
  const connection = await Connection.connect({ address });
  const client = new Client({ connection, dataConverter });
  const encrypting = new Client({ connection, dataConverter: { payloadCodecs: [new Codec(true)] } });
  const db = new Pool();
  const worker = await Worker.create({
    connection: await NativeConnection.connect({ address }),
    taskQueue: process.env.TASK_QUEUE!,
    workflowsPath: require.resolve('./workflows'),
    activities: createActivities(db),
    dataConverter,
  });
  const running = worker.run();
  answer({ ok: 'ready', version: require('@temporalio/worker/package.json').version });
  for await (const line of createInterface({ input: process.stdin })) {
    const command: Command = JSON.parse(line);
    try {
      await carryOut(command.value === 'encrypted' ? encrypting : client, command);
      answer({ ok: 'done' });
    } catch (error) {
      answer({ error: String(error) });
    }
  }
  worker.shutdown();
  await running;
  await db.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
