/**
 * @typedef {object} Triggers what a page hears of the world
 * @property {() => void} onOnline the network is back
 * @property {() => void} onVisible somebody looks at it again
 * @property {() => void} onLeave it may be the last moment
 */

/**
 * Listen to what the browser says of network and page; return what ends it.
 *
 * @param {Triggers} triggers
 * @returns {() => void}
 */
export function listen({ onOnline, onVisible, onLeave }) {
  const end = new AbortController()
  const { signal } = end
  const onChange = () => document.visibilityState === 'visible' && onVisible()
  addEventListener('online', onOnline, { signal })
  addEventListener('pagehide', onLeave, { signal })
  document.addEventListener('visibilitychange', onChange, { signal })
  return () => end.abort()
}
