// Which rows are behind a field? The statements that Mercurius and Yoga share, one for each level of a query.
import pg from 'pg'

const COMPANY = 1
const CONNECTIONS = 10

// What a row gives, by the name of its field; a foreign key is kept for the field that follows it.
export const COLUMNS = {
  user: { databaseId: 'id', firstName: 'first_name', lastName: 'last_name', email: 'email', role: 'role' },
  template: { databaseId: 'id', title: 'title', type: 'type' },
  contact: { databaseId: 'id', firstName: 'first_name', lastName: 'last_name', email: 'email' },
  recipient: { databaseId: 'id', status: 'status', address: 'address', sentAt: 'sent_at', contact: 'contact_id' },
  campaign: {
    databaseId: 'id', name: 'name', description: 'description', type: 'type', status: 'status', approved: 'approved',
    sendAt: 'send_at', sentAt: 'sent_at', createdAt: 'created_at', updatedAt: 'updated_at',
    user: 'user_id', template: 'template_id',
  },
}
const KEYS = { user: 'userId', template: 'templateId', contact: 'contactId' }
const TABLES = {
  user: ['users', 'integer'], template: ['templates', 'integer'], contact: ['contacts', 'uuid'],
  recipient: ['recipients', 'bigint'], campaign: ['campaigns', 'uuid'],
}

// The columns of these fields, each once, named as the schema names them. The key is always among them.
function selected(noun, fields) {
  const known = COLUMNS[noun]
  const wanted = new Set(['databaseId', ...(fields ?? Object.keys(known))].filter((field) => field in known))
  return [...wanted].map((field) => `${known[field]} AS "${KEYS[field] ?? field}"`).join(', ')
}

export function openPool({ textTimes = false } = {}) {
  // Times as PostgreSQL writes them, but for the T; else they become Dates.
  if (textTimes) pg.types.setTypeParser(pg.types.builtins.TIMESTAMPTZ, (text) => `${text.replace(' ', 'T')}:00`)
  // Connections are kept, as the other servers keep theirs.
  return new pg.Pool({ max: CONNECTIONS, idleTimeoutMillis: 0 })
}

// Every function takes the fields that are wanted, or undefined for all. `prepared`: keep plans by statement.
export function dataOf(pool, { prepared = false } = {}) {
  const names = new Map()
  async function rows(text, values) {
    if (!prepared) return (await pool.query(text, values)).rows
    if (!names.has(text)) names.set(text, `s${names.size}`)
    return (await pool.query({ name: names.get(text), text, values })).rows
  }

  async function byId(noun, ids, fields) {
    const [table, type] = TABLES[noun]
    const found = await rows(
      `SELECT ${selected(noun, fields)} FROM ${table} WHERE company_id = $1 AND id = ANY($2::${type}[])`,
      [COMPANY, [...new Set(ids)]],
    )
    const kept = new Map(found.map((row) => [row.databaseId, row]))
    return ids.map((id) => kept.get(id) ?? null)
  }

  async function campaign(id, fields) {
    const found = await rows(
      `SELECT ${selected('campaign', fields)} FROM campaigns WHERE company_id = $1 AND id = $2`, [COMPANY, id],
    )
    return found[0] ?? null
  }

  async function campaigns({ first, offset, filter }, fields) {
    const statuses = filter?.statusIn
    const condition = `company_id = $1${statuses ? ' AND status = ANY($2)' : ''}`
    const given = statuses ? [COMPANY, statuses] : [COMPANY]
    const text =
      `SELECT ${selected('campaign', fields)} FROM campaigns WHERE ${condition} ` +
      `ORDER BY created_at DESC, id DESC LIMIT $${given.length + 1} OFFSET $${given.length + 2}`
    const total = async () => (await rows(`SELECT count(*)::int AS n FROM campaigns WHERE ${condition}`, given))[0].n
    return { rows: await rows(text, [...given, first + 1, offset]), size: first, total }
  }

  // `parents`: [{ id, first }]; a page of recipients for each of them.
  async function recipients(parents, fields) {
    const found = await rows(
      `SELECT parent.id AS "parentId", page.* FROM unnest($2::uuid[], $3::int[]) AS parent(id, size)
       CROSS JOIN LATERAL (SELECT ${selected('recipient', fields)} FROM recipients
         WHERE company_id = $1 AND campaign_id = parent.id ORDER BY id LIMIT parent.size) AS page`,
      [COMPANY, parents.map(({ id }) => id), parents.map(({ first }) => first + 1)],
    )
    const pages = new Map(parents.map(({ id }) => [id, []]))
    for (const row of found) pages.get(row.parentId).push(row)
    const count = 'SELECT count(*)::int AS n FROM recipients WHERE company_id = $1 AND campaign_id = $2'
    const total = async (id) => (await rows(count, [COMPANY, id]))[0].n
    return parents.map(({ id, first }) => ({ rows: pages.get(id), size: first, total: () => total(id) }))
  }

  return { byId, campaign, campaigns, recipients }
}
