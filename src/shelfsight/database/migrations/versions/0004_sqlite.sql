-- Who stops being stable has no share of the devices any more, unless the same statement gives it one: otherwise it would
-- be the candidate of a rollout to everybody until somebody deprecates it.
CREATE TRIGGER model_metadata_keeps_no_share
AFTER UPDATE OF is_stable ON model_metadata
WHEN OLD.is_stable AND NOT NEW.is_stable AND (
  (NEW.rollout_percentage > 0 AND NEW.rollout_percentage = OLD.rollout_percentage)
  OR (NEW.shadow_mode AND OLD.shadow_mode AND NEW.shadow_percentage = OLD.shadow_percentage))
BEGIN
  UPDATE model_metadata SET
    rollout_percentage = iif(NEW.rollout_percentage = OLD.rollout_percentage, 0, NEW.rollout_percentage),
    shadow_mode = NEW.shadow_mode AND NOT (OLD.shadow_mode AND NEW.shadow_percentage = OLD.shadow_percentage),
    shadow_percentage = iif(OLD.shadow_mode AND NEW.shadow_percentage = OLD.shadow_percentage, 0, NEW.shadow_percentage)
  WHERE id = NEW.id;
END;

-- A rollout begins when a version that is not stable gets a share of the devices, and ends when it has none any more.
CREATE TRIGGER model_metadata_rollout_begins_on_insert
AFTER INSERT ON model_metadata
WHEN NOT NEW.is_stable AND NEW.status <> 'deprecated'
  AND (NEW.rollout_percentage > 0 OR (NEW.shadow_mode AND NEW.shadow_percentage > 0))
BEGIN
  INSERT INTO rollouts (channel_id, version, started_by)
  VALUES (NEW.channel_id, NEW.version, coalesce((SELECT actor FROM acting), 'sql'));
END;

CREATE TRIGGER model_metadata_rollout_begins_on_update
AFTER UPDATE OF rollout_percentage, shadow_mode, shadow_percentage, status, is_stable ON model_metadata
WHEN NOT NEW.is_stable AND NEW.status <> 'deprecated'
  AND ((NEW.rollout_percentage > 0 AND NOT (OLD.is_stable AND NEW.rollout_percentage = OLD.rollout_percentage))
    OR (NEW.shadow_mode AND NEW.shadow_percentage > 0
      AND NOT (OLD.is_stable AND OLD.shadow_mode AND NEW.shadow_percentage = OLD.shadow_percentage)))
BEGIN
  UPDATE rollouts SET stage_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')
  WHERE channel_id = NEW.channel_id AND version = NEW.version AND ended_at IS NULL
    AND (NEW.rollout_percentage <> OLD.rollout_percentage OR NEW.shadow_mode <> OLD.shadow_mode
      OR NEW.shadow_percentage <> OLD.shadow_percentage);
  INSERT INTO rollouts (channel_id, version, started_by)
  SELECT NEW.channel_id, NEW.version, coalesce((SELECT actor FROM acting), 'sql')
  WHERE NOT EXISTS (SELECT 1 FROM rollouts
    WHERE channel_id = NEW.channel_id AND version = NEW.version AND ended_at IS NULL);
END;

CREATE TRIGGER model_metadata_rollout_ends
AFTER UPDATE OF rollout_percentage, shadow_mode, shadow_percentage, status, is_stable ON model_metadata
WHEN NOT (NOT NEW.is_stable AND NEW.status <> 'deprecated'
  AND (NEW.rollout_percentage > 0 OR (NEW.shadow_mode AND NEW.shadow_percentage > 0)))
BEGIN
  UPDATE rollouts SET ended_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'),
    outcome = CASE WHEN outcome <> '' THEN outcome WHEN NEW.is_stable THEN 'stable' ELSE 'stopped' END
  WHERE channel_id = NEW.channel_id AND version = NEW.version AND ended_at IS NULL;
END;

CREATE TRIGGER model_metadata_rollout_ends_on_delete AFTER DELETE ON model_metadata
BEGIN
  UPDATE rollouts SET ended_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), outcome = 'stopped'
  WHERE channel_id = OLD.channel_id AND version = OLD.version AND ended_at IS NULL;
END;

-- Whom a rollout is for stands in the config too.
CREATE TRIGGER rollouts_counted AFTER UPDATE OF salt, shadow_salt, platforms, tiers ON rollouts
BEGIN
  UPDATE channels SET sequence = sequence + 1 WHERE id = NEW.channel_id;
END;

-- Versions that were stable once and were left as they were; then those that are being rolled out already.
UPDATE model_metadata SET rollout_percentage = 0, shadow_mode = 0, shadow_percentage = 0
WHERE NOT is_stable AND status = 'active' AND rollout_percentage = 100
  AND (channel_id, version) IN (SELECT channel_id, version FROM releases);
INSERT INTO rollouts (channel_id, version)
SELECT channel_id, version FROM model_metadata
WHERE NOT is_stable AND status <> 'deprecated'
  AND (rollout_percentage > 0 OR (shadow_mode AND shadow_percentage > 0));
