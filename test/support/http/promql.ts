import { parser } from '@prometheus-io/lezer-promql'

type Node = ReturnType<typeof parser.parse>['topNode']

/** What an expression asks for: each metric with what it says of labels, and the labels it groups by. */
export type Query = {
  selectors: { metric: string; matchers: { label: string; operator: string; value: string }[] }[]
  grouping: string[]
}

/** @throws Error when the expression is no PromQL */
export function parseQuery(expression: string): Query {
  const text = (node: Node | null) => (node === null ? '' : expression.slice(node.from, node.to))
  const tree = parser.parse(expression)
  const found: Query = { selectors: [], grouping: [] }
  tree.iterate({
    enter({ node, type }) {
      if (type.isError) throw new Error(`no PromQL at ${node.from}: ${expression}`)
      if (type.name === 'GroupingLabels') found.grouping.push(...node.getChildren('LabelName').map(text))
      if (type.name !== 'VectorSelector') return
      const matchers = node.getChild('LabelMatchers')?.getChildren('UnquotedLabelMatcher') ?? []
      found.selectors.push({
        metric: text(node.getChild('Identifier')),
        matchers: matchers.map((matcher) => ({
          label: text(matcher.getChild('LabelName')),
          operator: text(matcher.getChild('MatchOp')),
          value: JSON.parse(text(matcher.getChild('StringLiteral'))),
        })),
      })
    },
  })
  return found
}
