-- Who stops being stable has no share of the devices any more, unless the same statement gives it one: otherwise it would
-- be the candidate of a rollout to everybody until somebody deprecates it.
CREATE FUNCTION shelfsight.keep_no_share() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.rollout_percentage = OLD.rollout_percentage THEN
    NEW.rollout_percentage := 0;
  END IF;
  IF NEW.shadow_mode = OLD.shadow_mode AND NEW.shadow_percentage = OLD.shadow_percentage THEN
    NEW.shadow_mode := false;
    NEW.shadow_percentage := 0;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER d_keep_no_share BEFORE UPDATE OF is_stable ON model_metadata
FOR EACH ROW WHEN (OLD.is_stable AND NOT NEW.is_stable) EXECUTE FUNCTION shelfsight.keep_no_share();

-- A rollout begins when a version that is not stable gets a share of the devices, and ends when it has none any more.
CREATE FUNCTION shelfsight.follow_rollout() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  it model_metadata := coalesce(NEW, OLD);
  is_rolling boolean := TG_OP <> 'DELETE' AND NOT it.is_stable AND it.status <> 'deprecated'
    AND (it.rollout_percentage > 0 OR (it.shadow_mode AND it.shadow_percentage > 0));
BEGIN
  IF NOT is_rolling THEN
    UPDATE shelfsight.rollouts SET ended_at = clock_timestamp(),
      outcome = CASE WHEN outcome <> '' THEN outcome WHEN TG_OP <> 'DELETE' AND it.is_stable THEN 'stable' ELSE 'stopped' END
    WHERE channel_id = it.channel_id AND version = it.version AND ended_at IS NULL;
  ELSIF NOT EXISTS (SELECT FROM shelfsight.rollouts r
    WHERE r.channel_id = it.channel_id AND r.version = it.version AND r.ended_at IS NULL) THEN
    INSERT INTO shelfsight.rollouts (channel_id, version, started_by, started_at, stage_at)
    VALUES (it.channel_id, it.version, shelfsight.actor(), clock_timestamp(), clock_timestamp());
  ELSIF (OLD.rollout_percentage, OLD.shadow_mode, OLD.shadow_percentage)
    IS DISTINCT FROM (NEW.rollout_percentage, NEW.shadow_mode, NEW.shadow_percentage) THEN
    UPDATE shelfsight.rollouts SET stage_at = clock_timestamp()
    WHERE channel_id = it.channel_id AND version = it.version AND ended_at IS NULL;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER follow_rollout AFTER INSERT OR UPDATE OR DELETE ON model_metadata
FOR EACH ROW EXECUTE FUNCTION shelfsight.follow_rollout();

-- Whom a rollout is for stands in the config too.
CREATE FUNCTION shelfsight.count_rollout() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  UPDATE shelfsight.channels SET sequence = sequence + 1 WHERE id = NEW.channel_id;
  PERFORM pg_notify('shelfsight_versions', NEW.channel_id);
  RETURN NULL;
END $$;
CREATE TRIGGER count_rollout AFTER UPDATE OF salt, shadow_salt, platforms, tiers ON shelfsight.rollouts
FOR EACH ROW EXECUTE FUNCTION shelfsight.count_rollout();

DO $$
DECLARE
  f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['follow_rollout', 'count_rollout'] LOOP
    EXECUTE format('ALTER FUNCTION shelfsight.%I() SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION shelfsight.keep_no_share(), shelfsight.follow_rollout(), shelfsight.count_rollout() FROM PUBLIC;

REVOKE ALL ON shelfsight.rollouts, shelfsight.signing_keys, shelfsight.objects, shelfsight.downloads
FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE shelfsight.rollouts_id_seq FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON shelfsight.rollouts, shelfsight.objects, shelfsight.downloads TO service_role;

-- Versions that were stable once and were left as they were; then those that are being rolled out already.
UPDATE model_metadata m SET rollout_percentage = 0, shadow_mode = false, shadow_percentage = 0
WHERE NOT is_stable AND status = 'active' AND rollout_percentage = 100
  AND EXISTS (SELECT FROM shelfsight.releases r WHERE r.channel_id = m.channel_id AND r.version = m.version);
INSERT INTO shelfsight.rollouts (channel_id, version)
SELECT channel_id, version FROM model_metadata
WHERE NOT is_stable AND status <> 'deprecated'
  AND (rollout_percentage > 0 OR (shadow_mode AND shadow_percentage > 0));
