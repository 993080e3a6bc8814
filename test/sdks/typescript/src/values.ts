// Values, as JSON has them.

/** What Buffer does, where there is none: in the isolate of workflows. */
function base64(bytes: Uint8Array): string {
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const n = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text += digits[n >> 18] + digits[(n >> 12) & 63];
    text += i + 1 < bytes.length ? digits[(n >> 6) & 63] : '=';
    text += i + 2 < bytes.length ? digits[n & 63] : '=';
  }
  return text;
}

export function shown(v: unknown): unknown {
  if (v instanceof Uint8Array) {
    return { base64: base64(v) };
  }
  // JSON has no word for it
  return v === undefined ? 'undefined' : v;
}
