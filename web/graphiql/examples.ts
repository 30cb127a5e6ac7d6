export interface Example {
  title: string;
  query: string;
  variables: string | null;
}

function isExample(value: unknown): value is Example {
  if (typeof value !== "object" || value === null) return false;
  const { title, query, variables } = value as Partial<Record<keyof Example, unknown>>;
  return (
    typeof title === "string" &&
    typeof query === "string" &&
    (variables === null || typeof variables === "string")
  );
}

/** The page is of use without the examples, so a failure is only logged. */
export async function loadExamples(): Promise<Example[]> {
  try {
    const response = await fetch("/graphiql/examples.json");
    if (!response.ok) throw new Error(`status ${response.status}`);
    const body: unknown = await response.json();
    if (!Array.isArray(body)) throw new Error("not a list");
    return body.filter(isExample);
  } catch (error) {
    console.warn("examples.json could not be loaded:", error);
    return [];
  }
}
