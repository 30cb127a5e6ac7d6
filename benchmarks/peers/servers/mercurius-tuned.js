// Mercurius tuned by hand: only the columns that are asked for are read, by prepared statements, times as text, and
// leaves are not checked a second time.
import Fastify from 'fastify'
import mercurius from 'mercurius'

import { dataOf, openPool } from './data.js'
import { connectionResolvers, fieldsOf, typeDefs } from './schema.js'

const data = dataOf(openPool({ textTimes: true }), { prepared: true })

const names = (info) => [...fieldsOf(info.fieldNodes[0]).keys()]
// Only without its cache is a loader told what is asked for.
const loader = (load) => ({ loader: load, opts: { cache: false } })
const one = (noun) =>
  loader((queries) => data.byId(noun, queries.map(({ obj }) => obj[`${noun}Id`]), names(queries[0].info)))

const app = Fastify()
app.register(mercurius, {
  schema: typeDefs,
  resolvers: {
    Query: {
      campaign: (_, { id }, __, info) => data.campaign(id, names(info)),
      campaigns: (_, page, __, info) => data.campaigns(page, names(info)),
    },
    CampaignConnection: connectionResolvers,
    RecipientConnection: connectionResolvers,
  },
  loaders: {
    Campaign: {
      user: one('user'),
      template: one('template'),
      recipients: loader((queries) =>
        data.recipients(
          queries.map(({ obj, params }) => ({ id: obj.databaseId, first: params.first })),
          names(queries[0].info),
        ),
      ),
    },
    Recipient: { contact: one('contact') },
  },
  jit: 1,
  compilerOptions: { disableLeafSerialization: true },
})
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
