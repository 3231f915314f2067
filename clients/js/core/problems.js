const TYPE = 'urn:shelfsight:problem:'

/**
 * Return whether an answer is a problem document of a Shelfsight server, and not what a proxy or a captive portal says.
 *
 * @param {{ status: number, body: any }} answer the body's JSON, null if it is none
 */
export function isProblem({ status, body }) {
  return body?.status === status && typeof body.type === 'string' && body.type.startsWith(TYPE)
}
