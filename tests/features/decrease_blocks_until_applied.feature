Feature: A decrease blocks until it is applied
  A lower capacity closes its limit to new reservations, on every replica at once. As soon as enough of the limit is
  available, the decrease is applied and the limit is open again.

  Background:
    Given the limits:
      | limit              | kind        | capacity | held for |
      | gpt-4o:concurrency | concurrency | 100      | 60 s     |
      | gpt-4o:tpm         | rolling     | 100      | 2 s      |

  Scenario: The decrease waits until enough is available
    Given call 1 holds 30 of gpt-4o:concurrency
    And call 2 holds 40 of gpt-4o:concurrency
    When the capacity of gpt-4o:concurrency is set to 60
    Then the limits show:
      | limit              | status           | capacity | available | reserved |
      | gpt-4o:concurrency | decreasing to 60 | 100      | 30        | 70       |
    When call 3 reserves 1 of gpt-4o:concurrency
    Then call 3 is denied: gpt-4o:concurrency is decreasing
    And call 3 is told to retry after 10000 to 10000 ms
    When decreases that fit are applied
    Then the limits show:
      | limit              | status           | capacity | available | reserved |
      | gpt-4o:concurrency | decreasing to 60 | 100      | 30        | 70       |
    When call 1 completes
    And call 4 reserves 1 of gpt-4o:concurrency
    Then call 4 is denied: gpt-4o:concurrency is decreasing
    When decreases that fit are applied
    Then the limits show:
      | limit              | status | capacity | available | reserved |
      | gpt-4o:concurrency | active | 60       | 20        | 40       |
    When call 5 reserves 21 of gpt-4o:concurrency
    And call 6 reserves 20 of gpt-4o:concurrency
    Then call 5 is denied: gpt-4o:concurrency has no room
    But call 6 is granted

  Scenario: A reservation that expires makes room for the decrease
    Given call 1 holds 70 of gpt-4o:tpm
    When the capacity of gpt-4o:tpm is set to 60
    And decreases that fit are applied
    And call 2 reserves 1 of gpt-4o:tpm
    Then call 2 is denied: gpt-4o:tpm is decreasing
    When 2 s pass
    And decreases that fit are applied
    Then the limits show:
      | limit      | status | capacity | available | reserved |
      | gpt-4o:tpm | active | 60       | 60        | 0        |
    When call 3 reserves 60 of gpt-4o:tpm
    Then call 3 is granted

  Scenario: Every replica denies at once, and any replica may apply the decrease
    Given a second replica
    When at the second replica, call 1 reserves 50 of gpt-4o:concurrency
    And the capacity of gpt-4o:concurrency is set to 60
    And at the second replica, call 2 reserves 1 of gpt-4o:concurrency
    Then call 1 is granted
    But call 2 is denied: gpt-4o:concurrency is decreasing
    When at the second replica, decreases that fit are applied
    And decreases that fit are applied
    Then the limits show:
      | limit              | status | capacity | available | reserved |
      | gpt-4o:concurrency | active | 60       | 10        | 50       |
    When call 3 reserves 11 of gpt-4o:concurrency
    And at the second replica, call 4 reserves 10 of gpt-4o:concurrency
    Then call 3 is denied: gpt-4o:concurrency has no room
    But call 4 is granted

  Scenario: A decrease blocks its own limit only
    Given call 1 holds 70 of gpt-4o:concurrency
    When the capacity of gpt-4o:concurrency is set to 60
    And call 2 reserves 10 of gpt-4o:tpm and 1 of gpt-4o:concurrency
    And call 3 reserves 100 of gpt-4o:tpm
    Then call 2 is denied: gpt-4o:concurrency is decreasing
    But call 3 is granted

  Scenario Outline: A new target of <target> replaces the target of 60
    Given call 1 holds 70 of gpt-4o:concurrency
    When the capacity of gpt-4o:concurrency is set to 60
    And the capacity of gpt-4o:concurrency is set to <target>
    Then the limits show:
      | limit              | status   | capacity   | available   | reserved |
      | gpt-4o:concurrency | <status> | <capacity> | <available> | 70       |
    When decreases that fit are applied
    Then the limits show:
      | limit              | status        | capacity        | available        | reserved |
      | gpt-4o:concurrency | <last status> | <last capacity> | <last available> | 70       |

    Examples: The target is below the capacity
      | target | status           | capacity | available | last status      | last capacity | last available |
      | 10     | decreasing to 10 | 100      | 30        | decreasing to 10 | 100           | 30             |
      | 80     | decreasing to 80 | 100      | 30        | active           | 80            | 10             |

    Examples: The target is not below the capacity
      | target | status | capacity | available | last status | last capacity | last available |
      | 100    | active | 100      | 30        | active      | 100           | 30             |
      | 120    | active | 120      | 50        | active      | 120           | 50             |
