Feature: Batch order
  A batch has one answer per item, in the order of its items. Items that want the same capacity get it in that order. A
  bad item fails alone.

  Background:
    Given the limits:
      | limit              | kind        | capacity | held for |
      | gpt-4o:rpm         | rolling     | 3        | 60 s     |
      | gpt-4o:concurrency | concurrency | 2        | 60 s     |
      | acme:daily_tokens  | rolling     | 1000     | 60 s     |

  Scenario: Every item of a reserve batch has its answer in its position
    When a batch reserves:
      | call | amounts                                      |
      | 1    | 1 of gpt-4o:rpm and 400 of acme:daily_tokens |
      | 2    | 1 of gpt-5:rpm                               |
      | 3    | 1 of gpt-4o:rpm and 601 of acme:daily_tokens |
      | 4    | 1001 of acme:daily_tokens                    |
      | 5    | 1 of gpt-4o:rpm and 600 of acme:daily_tokens |
    Then the batch answers, in this order:
      | call | answer                                                       |
      | 1    | granted                                                      |
      | 2    | denied: there is no limit gpt-5:rpm                          |
      | 3    | denied: acme:daily_tokens has no room                        |
      | 4    | denied: the amount exceeds the capacity of acme:daily_tokens |
      | 5    | granted                                                      |
    And the limits show:
      | limit             | available | reserved |
      | gpt-4o:rpm        | 1         | 2        |
      | acme:daily_tokens | 0         | 1000     |

  Scenario: The first item that fits gets the last capacity
    When a batch reserves:
      | call | amounts                 |
      | 1    | 1 of gpt-4o:concurrency |
      | 2    | 2 of gpt-4o:concurrency |
      | 3    | 1 of gpt-4o:concurrency |
      | 4    | 1 of gpt-4o:concurrency |
    Then the batch answers, in this order:
      | call | answer                                 |
      | 1    | granted                                |
      | 2    | denied: gpt-4o:concurrency has no room |
      | 3    | granted                                |
      | 4    | denied: gpt-4o:concurrency has no room |

  Scenario: The same lease twice in a batch is granted once
    When a batch reserves:
      | call | amounts         |
      | 1    | 2 of gpt-4o:rpm |
      | 1    | 2 of gpt-4o:rpm |
      | 1    | 1 of gpt-4o:rpm |
      | 2    | 1 of gpt-4o:rpm |
    Then the batch answers, in this order:
      | call | answer                                       |
      | 1    | granted                                      |
      | 1    | granted                                      |
      | 1    | refused: the lease was granted other amounts |
      | 2    | granted                                      |
    And the limits show:
      | limit      | available | reserved |
      | gpt-4o:rpm | 0         | 3        |

  Scenario: Every item of a complete batch has its answer in its position
    Given call 1 holds 1 of gpt-4o:concurrency and 300 of acme:daily_tokens
    And call 2 holds 1 of gpt-4o:concurrency and 300 of acme:daily_tokens
    And call 3 holds 300 of acme:daily_tokens
    And call 4 holds 1 of gpt-4o:rpm
    When call 3 completes with 200 of acme:daily_tokens
    And a batch completes:
      | call  | amounts                   |
      | 2     | 100 of acme:daily_tokens  |
      | 3     | 0 of acme:daily_tokens    |
      | never | 5 of acme:daily_tokens    |
      | 4     | 5 of acme:daily_tokens    |
      | 1     | 1300 of acme:daily_tokens |
    Then the batch answers, in this order:
      | call  | answer                                                       |
      | 2     | settles the lease                                            |
      | 3     | changes nothing                                              |
      | never | changes nothing                                              |
      | 4     | is refused: the lease does not hold the limit of amount 1    |
      | 1     | settles the lease, and 600 of acme:daily_tokens become debt  |
    And the limits show:
      | limit              | available | reserved | debt |
      | gpt-4o:rpm         | 2         | 1        | 0    |
      | gpt-4o:concurrency | 2         | 0        | 0    |
      | acme:daily_tokens  | 0         | 1000     | 600  |
