"""What is asked of Vendure's Admin API, in GraphQL."""

from __future__ import annotations

_ERROR = "... on ErrorResult { errorCode message }"

LOGIN = f"""
mutation Login($username: String!, $password: String!) {{
  login(username: $username, password: $password, rememberMe: false) {{
    __typename
    ... on CurrentUser {{ id identifier }}
    {_ERROR}
  }}
}}"""

ME = "query Me { me { id identifier channels { id code token permissions } } }"

CHANNELS = """
query Channels($options: ChannelListOptions) {
  channels(options: $options) { totalItems items { id code token defaultLanguageCode } }
}"""

ACTIVE_CHANNEL = "query ActiveChannel { activeChannel { id code token } }"

OWN_ROLES = "query OwnRoles { activeAdministrator { user { roles { code channels { id } } } } }"

MODEL_FIELDS = (
    "modelBaseUrl modelVersion modelLastTrained modelTrainingStatus mlModelJsonId mlModelBinId mlMetadataId"
)
"""Custom fields of a channel that say which model its devices load."""

CHANNEL_MODEL = f"""
query ChannelModel($id: ID!) {{ channel(id: $id) {{ id customFields {{ {MODEL_FIELDS} }} }} }}"""

SET_CHANNEL_MODEL = f"""
mutation SetChannelModel($input: UpdateChannelInput!) {{
  updateChannel(input: $input) {{
    __typename
    ... on Channel {{ id customFields {{ {MODEL_FIELDS} }} }}
    {_ERROR}
  }}
}}"""

_ASSET = "id name fileSize source createdAt tags { value }"

ASSETS = f"""
query Assets($options: AssetListOptions) {{ assets(options: $options) {{ totalItems items {{ {_ASSET} }} }} }}"""

CREATE_ASSETS = f"""
mutation CreateAssets($input: [CreateAssetInput!]!) {{
  createAssets(input: $input) {{
    __typename
    ... on Asset {{ {_ASSET} }}
    ... on MimeTypeError {{ errorCode message mimeType }}
  }}
}}"""

ASSIGN_ASSETS = """
mutation AssignAssets($input: AssignAssetsToChannelInput!) { assignAssetsToChannel(input: $input) { id } }"""

DELETE_ASSETS = "mutation DeleteAssets($input: DeleteAssetsInput!) { deleteAssets(input: $input) { result message } }"
