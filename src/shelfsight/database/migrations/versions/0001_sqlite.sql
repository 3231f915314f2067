-- What keeps model_metadata consistent whoever writes it: us, or a person with the sqlite3 shell.

INSERT INTO channels (id, name, token) VALUES ('default', 'Default', 'ck_' || lower(hex(randomblob(16))));

CREATE TRIGGER model_metadata_one_stable_on_update
BEFORE UPDATE OF is_stable ON model_metadata WHEN NEW.is_stable AND NOT OLD.is_stable
BEGIN
  UPDATE model_metadata SET is_stable = 0 WHERE channel_id = NEW.channel_id AND is_stable AND id <> NEW.id;
END;

CREATE TRIGGER model_metadata_one_stable_on_insert
BEFORE INSERT ON model_metadata WHEN NEW.is_stable
BEGIN
  UPDATE model_metadata SET is_stable = 0 WHERE channel_id = NEW.channel_id AND is_stable;
END;

CREATE TRIGGER model_metadata_released_on_update
AFTER UPDATE OF is_stable ON model_metadata WHEN NEW.is_stable AND NOT OLD.is_stable
BEGIN
  INSERT INTO releases (channel_id, version) VALUES (NEW.channel_id, NEW.version);
END;

CREATE TRIGGER model_metadata_released_on_insert
AFTER INSERT ON model_metadata WHEN NEW.is_stable
BEGIN
  INSERT INTO releases (channel_id, version) VALUES (NEW.channel_id, NEW.version);
END;

CREATE TRIGGER model_metadata_inserted AFTER INSERT ON model_metadata
BEGIN
  UPDATE channels SET
    sequence = sequence + 1,
    model_version = (SELECT version FROM model_metadata WHERE channel_id = NEW.channel_id AND is_stable)
  WHERE id = NEW.channel_id;
  INSERT INTO audit (actor, action, channel_id, subject, details) VALUES (
    coalesce((SELECT actor FROM acting), 'sql'), 'version_inserted', NEW.channel_id, NEW.version,
    json_object('status', NEW.status, 'is_stable', json(iif(NEW.is_stable, 'true', 'false')),
      'rollout_percentage', NEW.rollout_percentage));
END;

-- Not on updated_at itself, which it sets.
CREATE TRIGGER model_metadata_updated
AFTER UPDATE OF version, file_path, file_size_bytes, checksum_sha256, architecture, quantization, input_shape,
  supported_providers, rollout_percentage, status, shadow_mode, shadow_percentage, rollback_threshold, min_app_version,
  is_stable, created_at, deprecated_at, channel_id, product_count, image_count, training_duration, trained_at, accuracy
ON model_metadata
BEGIN
  UPDATE model_metadata SET
    updated_at = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'),
    deprecated_at = CASE WHEN NEW.status = 'deprecated'
      THEN coalesce(NEW.deprecated_at, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')) END
  WHERE id = NEW.id;
  UPDATE channels SET
    sequence = sequence + 1,
    model_version = (SELECT version FROM model_metadata WHERE channel_id = NEW.channel_id AND is_stable)
  WHERE id = NEW.channel_id;
  INSERT INTO audit (actor, action, channel_id, subject, details) VALUES (
    coalesce((SELECT actor FROM acting), 'sql'), 'version_updated', NEW.channel_id, NEW.version,
    json_object('from', json_object('status', OLD.status, 'is_stable', json(iif(OLD.is_stable, 'true', 'false')),
        'rollout_percentage', OLD.rollout_percentage, 'shadow_percentage', OLD.shadow_percentage),
      'to', json_object('status', NEW.status, 'is_stable', json(iif(NEW.is_stable, 'true', 'false')),
        'rollout_percentage', NEW.rollout_percentage, 'shadow_percentage', NEW.shadow_percentage)));
END;

CREATE TRIGGER model_metadata_deleted AFTER DELETE ON model_metadata
BEGIN
  UPDATE channels SET
    sequence = sequence + 1,
    model_version = (SELECT version FROM model_metadata WHERE channel_id = OLD.channel_id AND is_stable)
  WHERE id = OLD.channel_id;
  INSERT INTO audit (actor, action, channel_id, subject, details) VALUES (
    coalesce((SELECT actor FROM acting), 'sql'), 'version_deleted', OLD.channel_id, OLD.version,
    json_object('status', OLD.status, 'is_stable', json(iif(OLD.is_stable, 'true', 'false'))));
END;

CREATE VIEW ml_models AS
SELECT t.id, t.channel_id, t.version, t.trained_at, t.product_count, t.image_count, t.training_duration, t.accuracy,
  coalesce(m.is_stable, 0) AS active, t.created_at
FROM trainings t LEFT JOIN model_metadata m ON m.channel_id = t.channel_id AND m.version = t.version;
