// PostGraphile 5 with its own preset: it makes the schema of the tables, so the names are its own.
import { createServer } from 'node:http'

import { postgraphile } from 'postgraphile'
import { makePgService } from 'postgraphile/adaptors/pg'
import { grafserv } from 'postgraphile/grafserv/node'
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber'

import { openPool } from './data.js'

const server = createServer()
const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  pgServices: [makePgService({ pool: openPool(), schemas: ['public'] })],
  grafserv: { graphiql: false },
})
await instance.createServ(grafserv).addTo(server)
server.listen(Number(process.env.PORT), '127.0.0.1')
