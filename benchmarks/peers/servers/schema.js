// Which part of the gateway's schema do Mercurius and Yoga serve? The same names, so that they answer the same documents.

const connection = (name) => `
  type ${name}Connection { nodes: [${name}!]! edges: [${name}Edge!]! pageInfo: PageInfo! totalCount: Int! }
  type ${name}Edge { cursor: String! node: ${name}! }
`

export const typeDefs = `
  scalar DateTime
  scalar UUID
  enum CampaignType { EMAIL LETTER TELEPHONE }
  enum CampaignStatus { DRAFT PENDING SENDING COMPLETED FAILED CANCELED }
  enum DeliveryStatus { QUEUED SENDING SENT DELIVERED DEFERRED BOUNCED FAILED UNSUBSCRIBED UNKNOWN CANCELED }
  input CampaignFilter { statusIn: [CampaignStatus!] }

  type User { databaseId: Int! firstName: String! lastName: String! email: String! role: String! }
  type Template { databaseId: Int! title: String! type: String! }
  type Contact { databaseId: UUID! firstName: String lastName: String email: String }
  type Recipient { databaseId: String! status: DeliveryStatus! address: String sentAt: DateTime contact: Contact }
  type Campaign {
    databaseId: UUID! name: String! description: String! type: CampaignType! status: CampaignStatus!
    approved: Boolean! sendAt: DateTime sentAt: DateTime createdAt: DateTime! updatedAt: DateTime!
    user: User! template: Template recipients(first: Int = 20): RecipientConnection!
  }
  type PageInfo { hasNextPage: Boolean! endCursor: String }
  ${connection('Campaign')}
  ${connection('Recipient')}

  type Query {
    campaign(id: ID!): Campaign
    campaigns(first: Int = 20, offset: Int = 0, filter: CampaignFilter): CampaignConnection!
  }
`

// A field of a connection is answered from { rows, size, total }, where `rows` may hold one more than the page.
const page = ({ rows, size }) => (rows.length > size ? rows.slice(0, size) : rows)
const cursor = (row) => Buffer.from(String(row.databaseId)).toString('base64url')

export const connectionResolvers = {
  nodes: page,
  edges: (found) => page(found).map((node) => ({ cursor: cursor(node), node })),
  pageInfo: (found) => {
    const rows = page(found)
    return { hasNextPage: found.rows.length > found.size, endCursor: rows.length ? cursor(rows.at(-1)) : null }
  },
  totalCount: (found) => found.total(),
}

// The fields below a field by their names, those of a page's rows as if they stood there; found once for each field.
// Fragments are not known: enough for what is measured.
const known = new WeakMap()
export function fieldsOf(node) {
  if (!known.has(node)) known.set(node, new Map(fieldsBelow(node)))
  return known.get(node)
}

function* fieldsBelow(node) {
  for (const field of node.selectionSet.selections) {
    if (['nodes', 'edges', 'node'].includes(field.name.value)) yield* fieldsBelow(field)
    else yield [field.name.value, field]
  }
}
