// Every call that an app makes with supabase-js, and what came of it: for Node and for a page alike.

const MODELS = 'ml-models'
const PHONES = 'assessment-models'
const CONFIG = 'assessment-model-config'

/** Return what each call answered, as plain values. `place` keeps the objects of two runs apart. */
export async function everyCall(createClient, { address, keys, place }) {
  const options = { auth: { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false } }
  const client = (key) => createClient(address, key, options)
  const clients = { anon: client(keys.anon), service: client(keys.service), private: client(keys.private) }
  return {
    config: await config(clients),
    reads: await reads(clients),
    signed: await signed(clients),
    objects: await objects(clients, place),
    refused: await refused(clients, place),
    rows: await rows(clients),
  }
}

async function config({ anon }) {
  const headers = { 'X-App-Platform': 'web', 'X-Device-Tier': 'low', 'X-Locale': 'nl' }
  const posted = await anon.functions.invoke(CONFIG)
  const got = await anon.functions.invoke(CONFIG, { method: 'GET', headers })
  const tag = got.response.headers.get('etag')
  const again = await anon.functions.invoke(CONFIG, { method: 'GET', headers: { ...headers, 'If-None-Match': tag } })
  return {
    channels: [posted.data.channelId, got.data.channelId],
    platforms: [posted.data.platform, got.data.platform],
    version: got.data.activeModelVersion,
    tagIsShown: tag === got.data.etag,
    unchanged: again.error.context.status,
  }
}

async function reads({ anon, private: secret }) {
  const models = anon.storage.from(MODELS)
  const phones = anon.storage.from(PHONES)
  const stream = await models.download('T_1/v1.0.0/weights.bin').asStream()
  return {
    model: await sha256((await models.download('T_1/v1.0.0/model.json')).data),
    latest: await sha256((await models.download('T_1/latest/model.json')).data),
    phone: await sha256((await phones.download('models/T_1_v1.0.0.ort')).data),
    streamed: await sha256(await new Response(stream.data).blob()),
    own: await sha256((await secret.storage.from(MODELS).download('secret/latest/model.json')).data),
    publicly: await sha256(await (await fetch(models.getPublicUrl('T_1/latest/model.json').data.publicUrl)).blob()),
    hidden: told((await models.download('secret/latest/model.json')).error),
    missing: told((await models.download('T_1/latest/none')).error),
    noBucket: told((await anon.storage.from('missing').download('x')).error),
    notPublic: (await fetch(models.getPublicUrl('secret/latest/model.json').data.publicUrl)).status,
    info: pick((await models.info('T_1/v1.0.0/model.json')).data, ['name', 'bucketId', 'size', 'contentType']),
    exists: (await models.exists('T_1/v1.0.0/model.json')).data,
    existsNot: (await models.exists('T_1/v1.0.0/none')).data,
    buckets: (await anon.storage.listBuckets()).data.map((one) => [one.id, one.public]),
    bucket: (await secret.storage.getBucket(MODELS)).data.public,
    folders: (await models.list('T_1')).data.map((one) => [one.name, one.id]),
    files: (await models.list('T_1/v1.0.0', { limit: 2, offset: 1, sortBy: { column: 'name' } })).data.map((one) => one.name),
    found: (await models.list('T_1/v1.0.0', { search: 'weig' })).data.map((one) => [one.name, one.metadata.size]),
    paged: await paged(phones),
  }
}

async function paged(bucket) {
  const names = []
  let cursor
  do {
    const { data } = await bucket.listV2({ prefix: 'models/T_1_v1.0.0', limit: 1, with_delimiter: true, cursor })
    names.push(...data.objects.map((one) => one.name))
    cursor = data.nextCursor
  } while (cursor)
  return names
}

async function signed({ private: secret }) {
  const models = secret.storage.from(MODELS)
  const path = 'secret/v1.0.0/weights.bin'
  const { signedUrl } = (await models.createSignedUrl(path, 60)).data
  const whole = await fetch(signedUrl)
  const tag = whole.headers.get('etag')
  const part = await fetch(signedUrl, { headers: { Range: 'bytes=1-3' } })
  const unchanged = await fetch(signedUrl, { headers: { 'If-None-Match': tag }, cache: 'no-store' })
  const named = (await models.createSignedUrl(path, 60, { download: 'a b.bin' })).data.signedUrl
  const saved = await fetch(named)
  const many = (await models.createSignedUrls(['secret/v1.0.0/model.json', 'none'], 60)).data
  const model = (await models.createSignedUrl('secret/latest/model.json', 60)).data.signedUrl
  const weights = await fetch(model.replace('model.json', 'weights.bin'))
  return {
    whole: await sha256(await whole.blob()),
    tag,
    part: [part.status, part.headers.get('content-range'), (await part.arrayBuffer()).byteLength],
    unchanged: unchanged.status,
    disposition: saved.headers.get('content-disposition'),
    many: many.map((one) => [one.path, one.error === null, typeof one.signedUrl]),
    first: await sha256(await (await fetch(many[0].signedUrl)).blob()),
    weights: await sha256(await weights.blob()),
    elsewhere: (await fetch(signedUrl.replace('weights.bin', 'model.json'), { cache: 'no-store' })).status,
    unsigned: (await fetch(signedUrl.split('?')[0], { cache: 'no-store' })).status,
    missing: told((await models.createSignedUrl('none', 60)).error),
    tooLong: told((await models.createSignedUrl(path, 10 ** 9)).error),
  }
}

async function objects({ anon, service }, place) {
  const phones = service.storage.from(PHONES)
  const path = (name) => `${place}/${name}`
  let asked = 0 // a browser keeps what it has for as long as the uploader said, unless the address is another one
  const text = async (name) =>
    (await anon.storage.from(PHONES).download(path(name), { cacheNonce: `${place}${asked++}` })).data.text()
  const form = new FormData()
  form.append('anything', new Blob(['form'], { type: 'a/form' }), 'name.bin')
  const metadata = { note: 'é', n: 1 }
  const blob = await phones.upload(path('blob'), new Blob(['blob'], { type: 'application/x-foo' }), { metadata })
  await phones.upload(path('buffer'), new TextEncoder().encode('buffer').buffer, {
    contentType: 'application/octet-stream',
    cacheControl: '60',
    metadata: { n: 2 },
  })
  await phones.upload(path('string'), 'string')
  await phones.upload(path('form'), form)
  const bodies = [await text('blob'), await text('buffer'), await text('string'), await text('form')]
  const facts = ['contentType', 'cacheControl', 'metadata', 'size']
  const infos = []
  for (const name of ['blob', 'buffer', 'string', 'form']) infos.push(pick((await phones.info(path(name))).data, facts))
  const duplicate = told((await phones.upload(path('blob'), 'again')).error)
  await phones.upload(path('blob'), new Blob(['upserted']), { upsert: true })
  const upserted = await text('blob')
  await phones.update(path('blob'), 'updated')
  const updated = await text('blob')
  const ticket = (await phones.createSignedUploadUrl(path('signed'))).data
  const sent = await anon.storage.from(PHONES).uploadToSignedUrl(path('signed'), ticket.token, new Blob(['sent']))
  const twice = await anon.storage.from(PHONES).uploadToSignedUrl(path('signed'), ticket.token, 'twice')
  const copied = await phones.copy(path('string'), path('copied'))
  const moved = await phones.move(path('string'), path('moved'))
  const listed = (await phones.list(place)).data.map((one) => one.name)
  const removed = await phones.remove([...listed, 'none'].map(path))
  return {
    blob: [blob.data.path, blob.data.fullPath, typeof blob.data.id],
    bodies,
    infos,
    duplicate,
    upserted,
    updated,
    sent: sent.data.fullPath,
    twice: told(twice.error),
    copied: copied.data.path,
    moved: moved.data.message,
    listed,
    removed: removed.data.map((one) => one.name),
    left: (await phones.list(place)).data,
  }
}

async function refused({ anon, service }, place) {
  const phones = service.storage.from(PHONES)
  const large = await phones.upload(`${place}/large`, new Blob([new Uint8Array(60 * 2 ** 20)]))
  return {
    stranger: told((await anon.storage.from(PHONES).upload(`${place}/x`, 'x')).error),
    strangerRemoves: told((await anon.storage.from(PHONES).remove([`${place}/x`])).error),
    large: told(large.error),
    largeIsThere: (await phones.exists(`${place}/large`)).data,
    published: told((await phones.upload('models/T_1_v1.0.0.ort', 'x', { upsert: true })).error),
    removed: told((await phones.remove(['models/T_1_v1.0.0.ort'])).error),
    readOnly: told((await service.storage.from(MODELS).upload('T_1/x', 'x')).error),
    bucket: told((await service.storage.createBucket(MODELS)).error),
  }
}

async function rows({ anon, service }) {
  const table = () => service.from('model_metadata')
  const versions = async (query) => (await query).data.map((row) => row.version)
  const newest = await table().select('*').order('created_at', { ascending: false }).limit(1)
  const counted = await table().select('version', { count: 'exact' }).limit(1)
  const head = await table().select('*', { count: 'exact', head: true })
  const failed = async (query) => pick((await query).error, ['code'])
  return {
    anon: await versions(anon.from('model_metadata').select('version')),
    newest: pick(newest.data[0], ['version', 'input_shape', 'channel_id', 'rollback_threshold']),
    filters: [
      await versions(table().select('version').eq('is_stable', true)),
      await versions(table().select('version').in('status', ['active', 'a,b'])),
      await versions(table().select('version').not('status', 'eq', 'active')),
      await versions(table().select('version').is('accuracy', null).order('id')),
      await versions(table().select('version').like('version', 'v1.1%')),
      await versions(table().select('version').ilike('version', 'V1.1%')),
      await versions(table().select('version').or('status.eq.testing,version.eq.none')),
      await versions(table().select('version').gt('created_at', '2020-01-01T00:00:00+00:00').order('version', { ascending: false })),
      await versions(table().select('version').order('status').order('id', { ascending: false }).range(1, 1)),
      await versions(table().select('version').match({ status: 'testing', channel_id: 'T_1' })),
    ],
    single: (await table().select('v:version').eq('status', 'testing').single()).data,
    notSingle: pick((await table().select('version').single()).error, ['code', 'details']),
    maybe: (await table().select('version').eq('version', 'none').maybeSingle()).data,
    counted: [counted.count, counted.data.length, counted.status],
    head: [head.count, head.status],
    failed: [
      await failed(anon.from('model_metadata').select('none')),
      await failed(anon.from('tokens').select('*')),
      await failed(anon.from('model_metadata').insert({ version: 'v9.0.0' })),
      await failed(service.from('model_metadata').update({ status: 'x' }).eq('id', 1)),
      await failed(service.from('model_metadata').delete().eq('id', 1)),
      await failed(service.rpc('rollback', { v: '1' })),
    ],
  }
}

/** Return what an app can tell of an error of storage. */
const told = (error) => [error.statusCode, error.message.slice(0, 40)]

const pick = (found, names) => Object.fromEntries(names.map((name) => [name, found[name]]))

async function sha256(blob) {
  const digest = await crypto.subtle.digest('SHA-256', await blob.arrayBuffer())
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
