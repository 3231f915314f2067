'use strict';
// When a request with events is tried again. No clock of its own.

const FIRST_MS = 2_000;
const LONGEST_MS = 10 * 60_000;
const SPREAD = 0.2;
const GIVEN_UP_AFTER_MS = 3 * 24 * 3600_000;

/** Enough for three days of the longest pauses; the job's age is what ends it. */
const RETRIES_MOST = 1_000;

/** What is wrong with the request itself stays wrong. */
const FOR_GOOD = new Set([400, 413, 422]);

/**
 * @param {number} failures in a row, 1 at least
 * @param {number} chance 0..1, which spreads the attempts of many shops
 */
function pauseMs(failures, chance) {
  return Math.min(FIRST_MS * 2 ** (failures - 1), LONGEST_MS) * (1 - SPREAD * chance);
}

/** @param {{ status?: number | null }} error */
function refusedForGood(error) {
  return FOR_GOOD.has(error.status ?? 0);
}

/**
 * @param {Date} since
 * @param {Date} now
 */
function tooOld(since, now) {
  return now.getTime() - since.getTime() > GIVEN_UP_AFTER_MS;
}

module.exports = { RETRIES_MOST, pauseMs, refusedForGood, tooOld };
