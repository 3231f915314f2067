"""Where exported configs lie, and the nginx configuration that serves them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.delivery.config.replies import ALLOWED_HEADERS, PUBLIC
from shelfsight.delivery.config.rules import FUNCTION_PATH
from shelfsight.delivery.rules import NO_MODEL
from shelfsight.rollout.rules import Platform, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

NGINX_MAPS = "nginx/maps.conf"
NGINX_KEYS = "nginx/keys.map"
NGINX_LOCATIONS = "nginx/locations.conf"
_ASK = "asked-of-the-server"  # no file ever has this name
_KEY_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")


def config_folder(channel: str) -> str:
    """Return the folder of a channel's configs."""
    return f"v1/channels/{channel}"


def config_file(channel: str, platform: Platform, tier: Tier) -> str:
    """Return where the config for a platform and tier lies; a CDN that knows no headers has the plain name."""
    if (platform, tier) == (Platform.UNIVERSAL, Tier.ANY):
        return f"{config_folder(channel)}/model-config"
    return f"{config_folder(channel)}/model-config.{platform}.{tier}"


def is_config_file(name: str) -> bool:
    """Return whether a file in a channel's folder is one of ours."""
    return name == "model-config" or name.startswith("model-config.")


def keys_map(channel_by_key: Mapping[str, str]) -> str:
    """Return nginx's map from public keys to channels. Keys that nginx could misread are left to the server."""
    lines = [f'"{key}" "{one}";' for key, one in sorted(channel_by_key.items()) if key and set(key) <= _KEY_SAFE]
    return "\n".join(["# Public key and channel; written by `shelfsight export-static`.", *lines, ""])


def maps(folder: str, channels: int, server: str | None) -> str:
    """Return what goes into nginx's `http` block: which file a request is about.

    Args:
        folder: of the export, absolute.
        channels: how many keys there are, which nginx makes room for.
        server: host and port of the server, which answers what files cannot; None without one.
    """
    room = max(2048, 1 << (channels * 2).bit_length())
    platforms = _map("$http_x_app_platform", "$shelfsight_platform", Platform.UNIVERSAL, tuple(Platform))
    tiers = _map("$http_x_device_tier", "$shelfsight_tier", Tier.ANY, tuple(Tier))
    return f"""# Include in nginx's `http` block; written by `shelfsight export-static`.
map_hash_max_size {room};
map_hash_bucket_size 128;
{platforms}{tiers}map "$shelfsight_platform.$shelfsight_tier" $shelfsight_form {{
  default ".$shelfsight_platform.$shelfsight_tier";
  "{Platform.UNIVERSAL}.{Tier.ANY}" "";
}}
map $http_authorization $shelfsight_bearer {{
  default "";
  "~*^bearer +(?<shelfsight_token>[^ ]+) *$" $shelfsight_token;
}}
map $http_apikey $shelfsight_key {{
  default $http_apikey;
  "" $shelfsight_bearer;
}}
map $shelfsight_key $shelfsight_channel {{
  default "{"default" if server is None else _ASK}";
  "" "default";
  include {folder}/{NGINX_KEYS};
}}
map $http_x_device_id $shelfsight_asked {{
  default "{"" if server is None else f".{_ASK}"}";
  "" "";
}}
{"" if server is None else _upstream(server)}"""


def _map(header: str, variable: str, default: str, among: tuple[str, ...]) -> str:
    lines = "".join(f'  "{name}" "{name}";\n' for name in among)
    return f'map {header} {variable} {{\n  default "{default}";\n{lines}}}\n'


def _upstream(server: str) -> str:
    return f"upstream shelfsight {{\n  server {server};\n  keepalive 16;\n}}\n"


def locations(folder: str, server: str | None) -> str:
    """Return what goes into nginx's `server` block.

    Args:
        folder, server: as in `maps`.
    """
    channel = CHANNEL_PATTERN.removeprefix("^").removesuffix("$").replace("{", "{{").replace("}", "}}")
    return f"""# Include in nginx's `server` block; written by `shelfsight export-static`.
location = {FUNCTION_PATH} {{
{_PREFLIGHT}  set $shelfsight_file /v1/channels/$shelfsight_channel/model-config$shelfsight_form$shelfsight_asked;
  rewrite ^ /shelfsight-configs$shelfsight_file last;
}}
location ~ "^/v1/channels/{channel.format()}/model-config$" {{
{_PREFLIGHT}  rewrite ^ /shelfsight-configs$uri$shelfsight_form$shelfsight_asked last;
}}
location ^~ /shelfsight-configs/ {{
  internal;
  alias {folder}/;
  default_type application/json;
  etag on;
  if_modified_since off;
  gzip off;
  recursive_error_pages on;
  error_page 405 =200 $uri; # a POST, which is answered as a GET
  error_page 404 = @shelfsight;
{_CORS}  add_header Cache-Control "{PUBLIC.decode()}" always;
  add_header Vary "X-App-Platform, X-Device-Tier, X-Device-Id, apikey, Authorization" always;
  add_header X-Content-Type-Options "nosniff" always;
}}
{_WITHOUT_SERVER if server is None else _WITH_SERVER}"""


_CORS = """  add_header Access-Control-Allow-Origin "*" always;
  add_header Access-Control-Expose-Headers "ETag, Retry-After" always;
"""
_PREFLIGHT = f"""  if ($request_method = OPTIONS) {{
    add_header Access-Control-Allow-Origin "*";
    add_header Access-Control-Allow-Methods "GET, HEAD, POST, OPTIONS";
    add_header Access-Control-Allow-Headers "{ALLOWED_HEADERS.decode()}";
    add_header Access-Control-Max-Age "86400";
    return 204;
  }}
"""
_WITHOUT_SERVER = f"""location @shelfsight {{
  default_type application/json;
{_CORS}  add_header Cache-Control "no-store" always;
  return 404 '{{"error": "{NO_MODEL}"}}';
}}
"""
_WITH_SERVER = """# What files cannot say: configs of private channels, and those for a device that says its id.
location @shelfsight {
  proxy_pass http://shelfsight$request_uri;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
}
"""
