// Run every call in Node: what is to be asked comes as JSON, what came of it goes out as JSON.
import { createClient } from '@supabase/supabase-js'
import { everyCall } from './supabase_calls.js'

// Before version 22 Node has no WebSocket, without which the client does not start; nothing here opens one.
const realtime = { transport: globalThis.WebSocket ?? class {} }
const create = (address, key, options) => createClient(address, key, { ...options, realtime })

console.log(JSON.stringify(await everyCall(create, JSON.parse(process.argv[2]))))
