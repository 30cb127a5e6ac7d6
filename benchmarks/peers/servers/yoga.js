// GraphQL Yoga as its documentation sets it up, with a DataLoader for each relation of a request.
import { createServer } from 'node:http'

import DataLoader from 'dataloader'
import { createSchema, createYoga } from 'graphql-yoga'

import { dataOf, openPool } from './data.js'
import { connectionResolvers, typeDefs } from './schema.js'

const data = dataOf(openPool())

const one = (noun) => new DataLoader((ids) => data.byId(noun, ids))

const yoga = createYoga({
  graphiql: false,
  logging: false,
  context: () => ({
    users: one('user'),
    templates: one('template'),
    contacts: one('contact'),
    recipients: new DataLoader((parents) => data.recipients(parents), { cache: false }),
  }),
  schema: createSchema({
    typeDefs,
    resolvers: {
      Query: {
        campaign: (_, { id }) => data.campaign(id),
        campaigns: (_, page) => data.campaigns(page),
      },
      Campaign: {
        user: ({ userId }, _, { users }) => users.load(userId),
        template: ({ templateId }, _, { templates }) => templateId && templates.load(templateId),
        recipients: ({ databaseId }, { first }, { recipients }) => recipients.load({ id: databaseId, first }),
      },
      Recipient: { contact: ({ contactId }, _, { contacts }) => contactId && contacts.load(contactId) },
      CampaignConnection: connectionResolvers,
      RecipientConnection: connectionResolvers,
    },
  }),
})
createServer(yoga).listen(Number(process.env.PORT), '127.0.0.1')
