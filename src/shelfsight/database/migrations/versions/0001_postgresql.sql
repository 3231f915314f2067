-- Functions, triggers, roles and row-level security of PostgreSQL.

INSERT INTO shelfsight.channels (id, name, token)
VALUES ('default', 'Default', 'ck_' || replace(gen_random_uuid()::text, '-', ''));

-- The channel that this session sees and changes: SET shelfsight.channel = 'T_1'. Shelfsight itself says '*'.
CREATE FUNCTION shelfsight.session_channel() RETURNS text LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('shelfsight.channel', true), ''), 'default') $$;

CREATE FUNCTION shelfsight.is_in_session(channel text) RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT shelfsight.session_channel() IN ('*', channel) $$;

CREATE FUNCTION shelfsight.is_public(channel text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS
$$ SELECT EXISTS (SELECT FROM shelfsight.channels c WHERE c.id = channel AND c.visibility = 'public') $$;

-- Who is writing. Only the owner of the tables, as whom the triggers ask, may say so by a setting; others are named.
CREATE FUNCTION shelfsight.actor() RETURNS text LANGUAGE sql STABLE AS
$$ SELECT coalesce(CASE WHEN pg_has_role(r.name, current_user, 'MEMBER')
  THEN nullif(current_setting('shelfsight.actor', true), '') END, 'sql:' || r.name)
  FROM (SELECT coalesce(nullif(current_setting('role'), 'none'), session_user)) AS r (name) $$;

ALTER TABLE model_metadata ALTER channel_id SET DEFAULT shelfsight.session_channel();

-- Superusers and owners of BYPASSRLS pass row-level security; their UPDATE … WHERE version = 'v1.1.0' still hits one row.
CREATE FUNCTION shelfsight.keep_to_session_channel() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_user = 'service_role' OR shelfsight.is_in_session(OLD.channel_id) THEN
    RETURN coalesce(NEW, OLD);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER a_keep_to_session_channel BEFORE UPDATE OR DELETE ON model_metadata
FOR EACH ROW EXECUTE FUNCTION shelfsight.keep_to_session_channel();

CREATE FUNCTION shelfsight.keep_times() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    NEW.updated_at := clock_timestamp();
  END IF;
  NEW.deprecated_at := CASE WHEN NEW.status = 'deprecated' THEN coalesce(NEW.deprecated_at, clock_timestamp()) END;
  RETURN NEW;
END $$;
CREATE TRIGGER b_keep_times BEFORE INSERT OR UPDATE ON model_metadata
FOR EACH ROW EXECUTE FUNCTION shelfsight.keep_times();

-- Whoever becomes stable takes it from the one that was. (The owner's session sees one channel too, hence '*'; said
-- inside, because only superusers may attach a setting of their own to a function.)
CREATE FUNCTION shelfsight.keep_one_stable() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  chosen text := coalesce(current_setting('shelfsight.channel', true), '');
BEGIN
  PERFORM set_config('shelfsight.channel', '*', true);
  UPDATE model_metadata SET is_stable = false WHERE channel_id = NEW.channel_id AND is_stable AND id <> NEW.id;
  PERFORM set_config('shelfsight.channel', chosen, true);
  RETURN NEW;
END $$;
CREATE TRIGGER c_keep_one_stable BEFORE INSERT OR UPDATE OF is_stable ON model_metadata
FOR EACH ROW WHEN (NEW.is_stable) EXECUTE FUNCTION shelfsight.keep_one_stable();

-- Every change counts the channel's sequence up, is audited, and wakes the servers.
CREATE FUNCTION shelfsight.record_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  chosen text := coalesce(current_setting('shelfsight.channel', true), '');
  it model_metadata := coalesce(NEW, OLD);
  old_values jsonb := coalesce(to_jsonb(OLD), '{}') - 'updated_at';
  new_values jsonb := coalesce(to_jsonb(NEW), '{}') - 'updated_at';
BEGIN
  PERFORM set_config('shelfsight.channel', '*', true);
  UPDATE shelfsight.channels SET
    sequence = sequence + 1,
    model_version = (SELECT version FROM model_metadata m WHERE m.channel_id = it.channel_id AND m.is_stable)
  WHERE id = it.channel_id;
  INSERT INTO shelfsight.audit (actor, action, channel_id, subject, details)
  SELECT shelfsight.actor(),
    CASE TG_OP WHEN 'INSERT' THEN 'version_inserted' WHEN 'UPDATE' THEN 'version_updated' ELSE 'version_deleted' END,
    it.channel_id, it.version,
    jsonb_build_object(
      'from', coalesce(jsonb_object_agg(k, old_values -> k) FILTER (WHERE old_values ? k), '{}'),
      'to', coalesce(jsonb_object_agg(k, new_values -> k) FILTER (WHERE new_values ? k), '{}'))
  FROM jsonb_object_keys(old_values || new_values) AS keys (k)
  WHERE old_values -> k IS DISTINCT FROM new_values -> k;
  IF TG_OP <> 'DELETE' AND (new_values -> 'is_stable')::boolean
    AND (old_values -> 'is_stable')::boolean IS NOT TRUE THEN
    INSERT INTO shelfsight.releases (channel_id, version) VALUES (it.channel_id, it.version);
  END IF;
  PERFORM set_config('shelfsight.channel', chosen, true);
  PERFORM pg_notify('shelfsight_versions', it.channel_id);
  RETURN NULL;
END $$;
CREATE TRIGGER record_version AFTER INSERT OR UPDATE OR DELETE ON model_metadata
FOR EACH ROW EXECUTE FUNCTION shelfsight.record_version();

-- Both run with the owner's rights. A table of the same name in a schema that somebody else may write to, such as the
-- temporary one, which otherwise comes first, must not take the place of ours.
DO $$
DECLARE
  f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['keep_one_stable', 'record_version'] LOOP
    EXECUTE format('ALTER FUNCTION shelfsight.%I() SET search_path = pg_catalog, %I, pg_temp', f, current_schema());
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION shelfsight.keep_to_session_channel(), shelfsight.keep_times(), shelfsight.keep_one_stable(),
  shelfsight.record_version() FROM PUBLIC;

CREATE VIEW ml_models WITH (security_invoker = true) AS
SELECT t.id, t.channel_id, t.version, t.trained_at, t.product_count, t.image_count, t.training_duration, t.accuracy,
  coalesce(m.is_stable, false) AS active, t.created_at
FROM trainings t LEFT JOIN model_metadata m ON m.channel_id = t.channel_id AND m.version = t.version;

-- Roles, as Supabase names them; made where they are missing.
DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
    END IF;
  END LOOP;
END $$;

-- Whatever the database grants to new tables by default (Supabase: everything to everybody) is taken back first.
REVOKE ALL ON ALL TABLES IN SCHEMA shelfsight FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA shelfsight FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON SEQUENCE model_metadata_id_seq, trainings_id_seq FROM PUBLIC, anon, authenticated, service_role;
REVOKE ALL ON model_metadata, trainings, ml_models FROM PUBLIC, anon, authenticated, service_role;
GRANT SELECT ON model_metadata TO anon, authenticated;
-- Not ALL: a trigger of theirs would run with our rights, and TRUNCATE passes our triggers by.
GRANT SELECT, INSERT, UPDATE, DELETE ON model_metadata, trainings TO service_role;
GRANT SELECT ON ml_models TO service_role;
GRANT USAGE ON SCHEMA shelfsight TO service_role;
GRANT SELECT ON shelfsight.channels, shelfsight.products, shelfsight.images, shelfsight.changes, shelfsight.audit
TO service_role;

ALTER TABLE model_metadata ENABLE ROW LEVEL SECURITY;
ALTER TABLE model_metadata FORCE ROW LEVEL SECURITY;
CREATE POLICY active_of_public_channels ON model_metadata FOR SELECT TO anon, authenticated
USING (status = 'active' AND shelfsight.is_public(channel_id));
CREATE POLICY everything ON model_metadata FOR ALL TO service_role USING (true) WITH CHECK (true);
CREATE POLICY channel_of_the_session ON model_metadata FOR ALL TO CURRENT_USER
USING (shelfsight.is_in_session(channel_id)) WITH CHECK (shelfsight.is_in_session(channel_id));

ALTER TABLE trainings ENABLE ROW LEVEL SECURITY;
CREATE POLICY everything ON trainings FOR ALL TO service_role USING (true) WITH CHECK (true);
