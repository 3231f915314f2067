import json, orjson, time
from shelfsight.partners.vendure import documents
from shelfsight.partners.vendure.client import *
from shelfsight.partners.vendure.credentials import *
from tests.vendure.server import *

def tell(name, fn):
    t=time.time()
    try: r = fn()
    except Exception as e: r = f"{type(e).__name__} {getattr(e,'reason','')}: {e}"
    print("##", name, round(time.time()-t,2), r if isinstance(r,str) else json.dumps(r, default=str)[:600])
    return r

def test_probe(vendure):
    a = vendure.channel("a"); b = vendure.channel("b")
    print(a, b)
    v = vendure.admin
    tell("me", lambda: v.query(documents.ME))
    tell("channels", lambda: [p for p in v.pages(documents.CHANNELS, "channels")])
    v2 = VendureClient(vendure.url, SessionToken("nope"))
    tell("bad token", lambda: v2.query(documents.CHANNELS))
    tell("bad api key", lambda: VendureClient(vendure.url, ApiKey("nope")).query(documents.CHANNELS))
    tell("bad login", lambda: VendureClient(vendure.url, Login("superadmin","x")).query(documents.CHANNELS))
    tell("unknown channel token", lambda: v.query(documents.CHANNELS, channel="nope"))
    tell("unknown field", lambda: v.query("{ nope }"))
    tell("list too long", lambda: v.query(documents.CHANNELS, {"options": {"take": 1001}}))
    low = vendure.administrator(["ReadCatalog"], [a.id])
    lc = vendure.client(low)
    tell("low me default", lambda: lc.query(documents.ME))
    tell("low me a", lambda: lc.query(documents.ME, channel=a.token))
    tell("low me b", lambda: lc.query(documents.ME, channel=b.token))
    tell("low channel a", lambda: lc.query(documents.CHANNELS, channel=a.token, needs="ReadChannel"))
    key = vendure.api_key(["ReadCatalog","ReadChannel"], a)
    k = VendureClient(vendure.url, ApiKey(key))
    tell("key me", lambda: k.query(documents.ME))
    tell("key me a", lambda: k.query(documents.ME, channel=a.token))
    tell("key channels a", lambda: k.query(documents.CHANNELS, channel=a.token))
    tell("key as bearer", lambda: VendureClient(vendure.url, SessionToken(key)).query(documents.CHANNELS, channel=a.token))
    U = """mutation($input: [CreateAssetInput!]!) { createAssets(input: $input) { __typename
  ... on Asset { id name source mimeType fileSize tags { value } } ... on MimeTypeError { errorCode message fileName mimeType } } }"""
    def up(name, data, mt, **k): 
        return tell("up "+name, lambda: v.upload(U, [{"tags": ["x"]}], [UploadFile(name=name, data=data, media_type=mt)], **k))
    up("w.bin", b"\0"*8+b"abc"*3000, "application/octet-stream", channel=a.token)
    up("Weird NAME ü_V1.bin", b"\0"*8+b"abc", "application/octet-stream", channel=a.token)
    up("w.bin", b"MZ\x90\0"+b"abc"*3000, "application/octet-stream")
    up("w.txt", b"MZ\x90\0"+b"abc"*3000, "text/plain")
    up("w.bin", b"\0"*(21*2**20), "application/octet-stream")
    up("w.json", b"", "application/json")
    up("m.json", b'{"a":1}', "application/json")
    tell("two", lambda: v.upload(U, [{"tags": ["x"]}]*2, [UploadFile(name="m.json", data=b'{"a":1}', media_type="application/json"),UploadFile(name="m.json", data=b'{"b":2}', media_type="application/json")]))
    CH = "query($id: ID!) { channel(id: $id) { id code token customFields { modelVersion nope } } }"
    tell("no such field", lambda: v.query(CH, {"id": a.id}))
    UP = "mutation($input: UpdateChannelInput!) { updateChannel(input: $input) { __typename ... on Channel { id customFields { modelVersion modelBaseUrl modelLastTrained modelTrainingStatus } } ... on ErrorResult { errorCode message } } }"
    tell("update nope", lambda: v.mutate(UP, {"input": {"id": a.id, "customFields": {"nope": "1"}}}))
    tell("update ok", lambda: v.mutate(UP, {"input": {"id": a.id, "customFields": {"modelVersion": "1", "modelLastTrained": "2026-01-01T00:00:00Z"}}}))
    tell("update nochannel", lambda: v.mutate(UP, {"input": {"id": "999", "customFields": {"modelVersion": "1"}}}))
    tell("update option", lambda: v.mutate(UP, {"input": {"id": a.id, "customFields": {"modelTrainingStatus": "x"}}}))
    tell("chan 999", lambda: v.query(documents.CHANNEL, {"id": "999"}))
    tell("product", lambda: vendure.product(a, "Apple", [jpeg((255,0,0))], skus=["1"]))
    tok = vendure.client(); tok.query(documents.ME)
    s = tok._session
    VendureClient(vendure.url, SessionToken(s)).mutate("mutation { logout { success } }")
    tell("ended", lambda: VendureClient(vendure.url, SessionToken(s)).query(documents.CHANNELS))
    tell("relogin", lambda: tok.query(documents.CHANNELS)); print(s != tok._session)
    tell("wrong port", lambda: VendureClient("http://127.0.0.1:1", SUPERADMIN, sleep=print).query(documents.ME))
    tell("wrong path", lambda: VendureClient(vendure.url+"/nope", SUPERADMIN).query(documents.ME))
    tell("shop api", lambda: VendureClient(vendure.url+"/shop-api", SUPERADMIN).query(documents.CHANNELS))
