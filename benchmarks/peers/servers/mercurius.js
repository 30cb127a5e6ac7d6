// Mercurius as its documentation sets it up: loaders, their cache, and the compiler from the second request on.
import Fastify from 'fastify'
import mercurius from 'mercurius'

import { dataOf, openPool } from './data.js'
import { connectionResolvers, typeDefs } from './schema.js'

const data = dataOf(openPool())

const one = (noun) => (queries) => data.byId(noun, queries.map(({ obj }) => obj[`${noun}Id`]))

const app = Fastify()
app.register(mercurius, {
  schema: typeDefs,
  resolvers: {
    Query: {
      campaign: (_, { id }) => data.campaign(id),
      campaigns: (_, page) => data.campaigns(page),
    },
    CampaignConnection: connectionResolvers,
    RecipientConnection: connectionResolvers,
  },
  loaders: {
    Campaign: {
      user: one('user'),
      template: one('template'),
      recipients: (queries) =>
        data.recipients(queries.map(({ obj, params }) => ({ id: obj.databaseId, first: params.first }))),
    },
    Recipient: { contact: one('contact') },
  },
  jit: 1,
})
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
