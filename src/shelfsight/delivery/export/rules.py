"""Where exported configs lie, and the nginx configuration that serves them. Pure."""

from __future__ import annotations

import re
from string import Template
from typing import TYPE_CHECKING

from shelfsight.catalog.rules import CHANNEL_PATTERN
from shelfsight.delivery.config.replies import ALLOWED_HEADERS, PUBLIC
from shelfsight.delivery.config.rules import FUNCTION_PATH
from shelfsight.delivery.rules import NO_MODEL
from shelfsight.errors import UsageError
from shelfsight.rollout.rules import Platform, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NGINX_MAPS = "nginx/maps.conf"
NGINX_KEYS = "nginx/keys.map"
NGINX_LOCATIONS = "nginx/locations.conf"
_ASK = "asked-of-the-server"  # no file ever has this name
_KEY = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)
_FOLDER = re.compile(r"/[A-Za-z0-9._/@+-]*", re.ASCII)
_SERVER = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}", re.ASCII)


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
    lines = [f'"{key}" "{one}";' for key, one in sorted(channel_by_key.items()) if _KEY.fullmatch(key)]
    return "\n".join(["# Public key and channel; written by `shelfsight export-static`.", *lines, ""])


def check_folder(folder: str) -> str:
    """Return `folder`, which stands in nginx's configuration as it is.

    Raises:
        UsageError: nginx would read it as something else.
    """
    if not _FOLDER.fullmatch(folder):
        raise UsageError(f"nginx cannot be told of {folder[:200]!r}: use letters, digits and . _ / @ + - for --out")
    return folder


def check_server(server: str | None) -> str | None:
    """Return host and port, which stand there, too; None is none.

    Raises:
        UsageError: it is something else.
    """
    if server is not None and not _SERVER.fullmatch(server):
        raise UsageError(f"--server {server[:80]!r} is no host and port: write it as 127.0.0.1:8000")
    return server


class _Nginx(Template):
    """A part of nginx's configuration, which has `$` and `@` of its own: what is filled in is `%{name}`."""

    delimiter = "%"


def maps(folder: str, channels: int, server: str | None) -> str:
    """Return what goes into nginx's `http` block: which file a request is about.

    Args:
        folder: of the export, absolute.
        channels: how many keys there are, which nginx makes room for.
        server: host and port of the server, which answers what files cannot; None without one.
    """
    return _MAPS.substitute(
        room=max(2048, 1 << (channels * 2).bit_length()),
        universal=Platform.UNIVERSAL,
        any=Tier.ANY,
        platforms=_names(Platform),
        tiers=_names(Tier),
        without_key="default" if server is None else _ASK,
        with_device="" if server is None else f".{_ASK}",
        keys=f"{check_folder(folder)}/{NGINX_KEYS}",
        upstream="" if server is None else _UPSTREAM.substitute(server=check_server(server)),
    )


def locations(folder: str, server: str | None) -> str:
    """Return what goes into nginx's `server` block.

    Args:
        folder, server: as in `maps`.
    """
    return _LOCATIONS.substitute(
        function=FUNCTION_PATH,
        channel=CHANNEL_PATTERN.removeprefix("^").removesuffix("$"),
        folder=check_folder(folder),
        preflight=_PREFLIGHT.substitute(headers=ALLOWED_HEADERS.decode()),
        cors=_CORS,
        kept=PUBLIC.decode(),
        otherwise=_WITHOUT_SERVER if server is None else _WITH_SERVER,
    )


def _names(among: Iterable[str]) -> str:
    return "\n".join(f'  "{name}" "{name}";' for name in among)


_MAPS = _Nginx("""# Include in nginx's `http` block; written by `shelfsight export-static`.
map_hash_max_size %{room};
map_hash_bucket_size 128;
map $http_x_app_platform $shelfsight_platform {
  default "%{universal}";
%{platforms}
}
map $http_x_device_tier $shelfsight_tier {
  default "%{any}";
%{tiers}
}
map "$shelfsight_platform.$shelfsight_tier" $shelfsight_form {
  default ".$shelfsight_platform.$shelfsight_tier";
  "%{universal}.%{any}" "";
}
map $http_authorization $shelfsight_bearer {
  default "";
  "~*^bearer +(?<shelfsight_token>[^ ]+) *$" $shelfsight_token;
}
map $http_apikey $shelfsight_key {
  default $http_apikey;
  "" $shelfsight_bearer;
}
map $shelfsight_key $shelfsight_channel {
  default "%{without_key}";
  "" "default";
  include %{keys};
}
map $http_x_device_id $shelfsight_asked {
  default "%{with_device}";
  "" "";
}
%{upstream}""")

_UPSTREAM = _Nginx("""upstream shelfsight {
  server %{server};
  keepalive 16;
}
""")

_CORS = """  add_header Access-Control-Allow-Origin "*" always;
  add_header Access-Control-Expose-Headers "ETag, Retry-After" always;"""

_PREFLIGHT = _Nginx("""  if ($request_method = OPTIONS) {
    add_header Access-Control-Allow-Origin "*";
    add_header Access-Control-Allow-Methods "GET, HEAD, POST, OPTIONS";
    add_header Access-Control-Allow-Headers "%{headers}";
    add_header Access-Control-Max-Age "86400";
    return 204;
  }""")

_LOCATIONS = _Nginx("""# Include in nginx's `server` block; written by `shelfsight export-static`.
location = %{function} {
%{preflight}
  set $shelfsight_file /v1/channels/$shelfsight_channel/model-config$shelfsight_form$shelfsight_asked;
  rewrite ^ /shelfsight-configs$shelfsight_file last;
}
location ~ "^/v1/channels/%{channel}/model-config$" {
%{preflight}
  rewrite ^ /shelfsight-configs$uri$shelfsight_form$shelfsight_asked last;
}
location ^~ /shelfsight-configs/ {
  internal;
  alias %{folder}/;
  default_type application/json;
  etag on;
  if_modified_since off;
  gzip off;
  recursive_error_pages on;
  error_page 405 =200 $uri; # a POST, which is answered as a GET
  error_page 404 = @shelfsight;
%{cors}
  add_header Cache-Control "%{kept}" always;
  add_header Vary "X-App-Platform, X-Device-Tier, X-Device-Id, apikey, Authorization" always;
  add_header X-Content-Type-Options "nosniff" always;
}
%{otherwise}""")

_WITHOUT_SERVER = _Nginx("""location @shelfsight {
  default_type application/json;
%{cors}
  add_header Cache-Control "no-store" always;
  return 404 '{"error": "%{no_model}"}';
}
""").substitute(cors=_CORS, no_model=NO_MODEL)

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
