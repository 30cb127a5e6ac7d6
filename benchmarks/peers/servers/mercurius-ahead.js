// Mercurius without loaders: the root's resolvers look ahead and fetch all below them level by level, so that no other
// field waits for anything. Beside that, all that is done in mercurius-tuned.js. It knows no aliases below the root.
import Fastify from 'fastify'
import { getArgumentValues } from 'graphql'
import mercurius from 'mercurius'

import { dataOf, openPool } from './data.js'
import { connectionResolvers, fieldsOf, typeDefs } from './schema.js'

const data = dataOf(openPool({ textTimes: true }), { prepared: true })

async function withOne(rows, noun, fields) {
  if (!fields.has(noun)) return
  const found = await data.byId(noun, rows.map((row) => row[`${noun}Id`]), [...fieldsOf(fields.get(noun)).keys()])
  rows.forEach((row, place) => { row[noun] = found[place] })
}

async function withRecipients(campaigns, fields, info) {
  const field = fields.get('recipients')
  if (!field) return
  const definition = info.schema.getType('Campaign').getFields().recipients
  const { first } = getArgumentValues(definition, field, info.variableValues)
  const below = fieldsOf(field)
  const pages = await data.recipients(campaigns.map(({ databaseId }) => ({ id: databaseId, first })), [...below.keys()])
  await withOne(pages.flatMap(({ rows }) => rows), 'contact', below)
  campaigns.forEach((campaign, place) => { campaign.recipients = pages[place] })
}

async function filled(campaigns, fields, info) {
  await Promise.all([
    withOne(campaigns, 'user', fields),
    withOne(campaigns, 'template', fields),
    withRecipients(campaigns, fields, info),
  ])
}

const app = Fastify()
app.register(mercurius, {
  schema: typeDefs,
  resolvers: {
    Query: {
      campaign: async (_, { id }, __, info) => {
        const fields = fieldsOf(info.fieldNodes[0])
        const campaign = await data.campaign(id, [...fields.keys()])
        if (campaign) await filled([campaign], fields, info)
        return campaign
      },
      campaigns: async (_, page, __, info) => {
        const fields = fieldsOf(info.fieldNodes[0])
        const found = await data.campaigns(page, [...fields.keys()])
        await filled(found.rows, fields, info)
        return found
      },
    },
    CampaignConnection: connectionResolvers,
    RecipientConnection: connectionResolvers,
  },
  jit: 1,
  compilerOptions: { disableLeafSerialization: true },
})
await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT) })
